package mesos

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strconv"

	"github.com/mesos/mesos-go/api/v1/lib/executor/config"
)

// tokenEnv carries the agent's token where it authenticates executors.
const tokenEnv = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"

// Variables by which an agent that speaks TLS tells its executors so: its own, passed on. Their old names begin with SSL_.
const (
	sslEnabledEnv = "LIBPROCESS_SSL_ENABLED"
	sslCAEnv      = "LIBPROCESS_SSL_CA_FILE"
	sslVerifyEnv  = "LIBPROCESS_SSL_VERIFY_SERVER_CERT"
)

// ExecutorFromEnvironment reads MESOS_* variables; the error names all that are missing. The agent's token is taken out of
// the environment, so that no child process has it.
func ExecutorFromEnvironment() (ExecutorConfig, error) {
	c, err := config.FromEnv()
	if err != nil {
		return ExecutorConfig{}, fmt.Errorf("this process was not started by a Mesos agent: %w", err)
	}
	out := ExecutorConfig{Config: c, AuthToken: os.Getenv(tokenEnv)}
	if err := os.Unsetenv(tokenEnv); err != nil {
		return ExecutorConfig{}, err
	}
	out.TLS, err = agentTLS()
	return out, err
}

// agentTLS is how to reach an agent that speaks TLS, nil when it does not. As in Mesos, its certificate is only checked
// where the agent's flags ask for that.
func agentTLS() (*tls.Config, error) {
	if on, _ := strconv.ParseBool(os.Getenv(sslEnabledEnv)); !on {
		return nil, nil
	}
	verify, _ := strconv.ParseBool(os.Getenv(sslVerifyEnv))
	out := &tls.Config{InsecureSkipVerify: !verify}
	if file := os.Getenv(sslCAEnv); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the certificates that the agent trusts (%s): %w", sslCAEnv, err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s=%s holds no certificate in PEM", sslCAEnv, file)
		}
	}
	return out, nil
}
