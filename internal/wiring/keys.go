// Package wiring turns the configuration all daemons have in common into the parts they are built from: the central
// tables, the schemas in git, the inventory and the connections to the fleet.
package wiring

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/mysql"
)

// Keys are those of every daemon of the pipeline.
func Keys() []daemon.Key {
	return []daemon.Key{
		{Name: "aoscdb-dsn", Default: "", Check: checkDSN, Mask: maskDSN,
			Help: "the central database, user:password@tcp(host:port)/aoscdb; with a password, better in the file or the environment than as flag"},
		{Name: "aoscdb-ca-file", Default: "", Check: checkCAFile("aoscdb-ca-file"),
			Help: "authorities, PEM, by which aoscdb's certificate is verified before the password is sent; empty = as the DSN says (tls=...)"},
		{Name: "schemas-repo", Default: "", Check: required("schemas-repo"), Mask: maskURL,
			Help: "git repository of the desired schemas, a path or a URL"},
		{Name: "schemas-branch", Default: "main", Check: required("schemas-branch"),
			Help: "branch whose committed head is desired"},
		{Name: "schemas-cache", Default: "",
			Help: "directory for the clone when schemas-repo is a URL; empty = below the user's cache directory"},
		{Name: "inventory", Default: "", Check: required("inventory"),
			Help: "YAML file of tiers, clusters and instances; or cotton+http://host:port (cotton+https://...) for the clusters that cotton launched"},
		{Name: "mysql-user", Default: "aosc", Check: required("mysql-user"),
			Help: "account on the instances"},
		{Name: "mysql-password-file", Default: "", Check: checkPasswordFile,
			Help: "file with that account's password, not readable by others; empty = no password"},
		{Name: "mysql-write-user", Default: "",
			Help: "account that writes what is replicated (copies, ALTER at a primary), without SUPER and CONNECTION_ADMIN, so that read_only stops it; empty = mysql-user"},
		{Name: "mysql-write-password-file", Default: "", Check: checkOtherPassword("mysql-write-password-file", "mysql-write-user"),
			Help: "file with that account's password, not readable by others"},
		{Name: "scratch-user", Default: "",
			Help: "account that runs committed CREATE TABLEs, with nothing but the scratch schemas; empty = mysql-user"},
		{Name: "scratch-password-file", Default: "", Check: checkOtherPassword("scratch-password-file", "scratch-user"),
			Help: "file with that account's password, not readable by others"},
		{Name: "mysql-tls", Default: "", Check: daemon.OneOf("mysql-tls", "", "preferred", "required", "skip-verify"),
			Help: "TLS to the instances: preferred, required or skip-verify; required verifies each before the password is sent, those that cotton launched by what cotton says; empty = required for those, none for others"},
		{Name: "mysql-ca-file", Default: "", Check: checkCAFile("mysql-ca-file"),
			Help: "authorities, PEM, of the instances' certificates, with mysql-tls=required; empty = cotton's, else the system's"},
		{Name: "connect-timeout", Default: 5 * time.Second, Check: daemon.AtLeast("connect-timeout", 100*time.Millisecond),
			Help: "until an instance that does not answer counts as unknown"},
		{Name: "fanout", Default: 64, Unit: "instances", Check: daemon.AtLeast("fanout", 1),
			Help: "how many instances are asked at once"},
	}
}

// InstanceKeys say which instances a checksum or an oscworker serves; see Served.
func InstanceKeys() []daemon.Key {
	return []daemon.Key{
		{Name: "tier", Default: "", Help: "serve only the instances of this tier"},
		{Name: "host", Default: "", Help: "serve only the instances of this host, named as in the inventory"},
		{Name: "instance", Default: []string{}, Unit: "host:port", Check: checkInstances,
			Help: "serve only these instances; may be repeated"},
	}
}

func required(key string) func(*viper.Viper) error {
	return func(v *viper.Viper) error {
		if strings.TrimSpace(v.GetString(key)) == "" {
			return fmt.Errorf("is needed: --%s, $AOSC_%s or the file", key, strings.ToUpper(strings.ReplaceAll(key, "-", "_")))
		}
		return nil
	}
}

func checkDSN(v *viper.Viper) error {
	if err := required("aoscdb-dsn")(v); err != nil {
		return err
	}
	cfg, err := mysql.ParseDSN(v.GetString("aoscdb-dsn"))
	if err != nil {
		return err
	}
	if cfg.DBName == "" {
		return errors.New("names no database; end it with /aoscdb")
	}
	return nil
}

func checkCAFile(key string) func(*viper.Viper) error {
	return func(v *viper.Viper) error {
		_, err := readCA(v.GetString(key))
		return err
	}
}

// readCA is nil for no file.
func readCA(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the authorities: %s holds no PEM certificate", path)
	}
	return text, nil
}

func checkInstances(v *viper.Viper) error {
	for _, text := range v.GetStringSlice("instance") {
		if _, err := mysql.ParseAddr(text); err != nil {
			return err
		}
	}
	return nil
}

func checkPasswordFile(v *viper.Viper) error {
	_, err := readPassword(v.GetString("mysql-password-file"))
	return err
}

// checkOtherPassword is for the password file of an account besides mysql-user.
func checkOtherPassword(file, user string) func(*viper.Viper) error {
	return func(v *viper.Viper) error {
		if v.GetString(file) != "" && v.GetString(user) == "" {
			return fmt.Errorf("is a password without an account: set %s, too", user)
		}
		_, err := readPassword(v.GetString(file))
		return err
	}
}

// readPassword reads a password file. One that every account of the machine can read is refused: whoever reads it can
// alter the fleet. Group access is the operator's to decide. The password never is part of an error.
func readPassword(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return "", fmt.Errorf("password file %s is open to every account of this machine (mode %04o): chmod o= %s", path, mode, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("password file %s is empty: leave mysql-password-file unset for an account without a password", path)
	}
	if strings.ContainsAny(password, "\r\n") {
		return "", fmt.Errorf("password file %s has more than one line", path)
	}
	return password, nil
}

// maskDSN shows where a DSN leads without its password. What cannot be taken apart is not shown at all.
func maskDSN(dsn string) string {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return "***"
	}
	if cfg.Passwd == "" {
		return dsn
	}
	rest, ok := strings.CutPrefix(dsn, cfg.User+":"+cfg.Passwd+"@")
	if !ok {
		return "***"
	}
	return cfg.User + ":***@" + rest
}

// maskURL hides the password or token in a repository's URL. What is no URL (a path, git@host:path) has none.
func maskURL(repo string) string {
	scheme, rest, isURL := strings.Cut(repo, "://")
	if !isURL {
		return repo
	}
	authority, path, _ := strings.Cut(rest, "/")
	at := strings.LastIndex(authority, "@")
	if at < 0 {
		return repo
	}
	user, _, hasPassword := strings.Cut(authority[:at], ":")
	switch {
	case hasPassword:
		user += ":***"
	case scheme != "ssh": // https://<token>@host/
		user = "***"
	}
	return scheme + "://" + user + authority[at:] + "/" + path
}
