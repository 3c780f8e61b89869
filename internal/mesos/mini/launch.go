package mini

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/mesos/mini/resources"
)

// prepare makes an executor's sandbox and fetches its files, away from the
// agent's goroutine; then the agent starts it.
func (a *agent) prepare(e *executor) {
	a.mustKeep(e)
	sandbox := a.sandbox(e)
	a.fetching.Add(1)
	go func() {
		defer a.fetching.Done()
		err := os.MkdirAll(sandbox, 0o755)
		if err == nil {
			err = fetchAll(a.stopped, e.info.Command.URIs, sandbox)
		}
		a.post(func() { a.start(e, err) })
	}()
}

// start starts an executor whose sandbox is ready, or fails its tasks.
func (a *agent) start(e *executor, fetchErr error) {
	if e.over {
		return
	}
	if fetchErr != nil {
		a.failLaunch(e, fmt.Sprintf("Failed to fetch all URIs for container '%s': exited with status 1", e.container), fetchErr)
		return
	}
	var given []mesos.Resource
	given = append(given, e.info.Resources...)
	for _, id := range sortedKeys(e.tasks) {
		given = append(given, e.tasks[id].info.Resources...)
	}
	err := a.linkVolumes(e, given)
	if err == nil {
		e.pid, e.ticks, err = a.procs.start(a.sandbox(e), argv(e.info.Command), a.environment(e))
	}
	if err != nil {
		a.failLaunch(e, err.Error(), err)
		return
	}
	a.mustKeep(e)
	a.watch(e)
	e.timer = a.after(a.cfg.ExecutorRegistrationTimeout, func() {
		if !e.over && !e.subscribed {
			e.failure = endedUnseen{mesos.REASON_EXECUTOR_REGISTRATION_TIMEOUT,
				"Executor did not register within " + duration(a.cfg.ExecutorRegistrationTimeout)}
			killSession(e.pid)
		}
	})
}

// failLaunch ends an executor that could not be started: its framework sees
// FAILURE with the status of a fetcher that exited with 1.
func (a *agent) failLaunch(e *executor, what string, cause error) {
	// What went wrong is left where one looks for it.
	_ = os.WriteFile(filepath.Join(a.sandbox(e), "stderr"), []byte(cause.Error()+"\n"), 0o644)
	e.failure = endedUnseen{mesos.REASON_CONTAINER_LAUNCH_FAILED, "Failed to launch container: " + what}
	a.executorExited(e, 1<<8)
}

// argv is how a command is run: by the shell unless it says otherwise.
func argv(c *mesos.CommandInfo) []string {
	if c.Shell == nil || *c.Shell {
		return []string{"/bin/sh", "-c", c.GetValue()}
	}
	if len(c.Arguments) == 0 {
		return []string{c.GetValue()}
	}
	return append([]string{c.GetValue()}, c.Arguments[1:]...)
}

// defaultPath is what Mesos gives an executor whose command sets no PATH
// (recording 11). Nothing of the agent's environment comes through.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is what an executor finds (rule 31).
func (a *agent) environment(e *executor) []string {
	host, _ := splitAddr(a.addr)
	sandbox := a.sandbox(e)
	env := []string{
		"LIBPROCESS_IP=" + host,
		"LIBPROCESS_PORT=0",
		"MESOS_AGENT_ENDPOINT=" + a.addr,
		"MESOS_DIRECTORY=" + sandbox,
		"MESOS_EXECUTOR_ID=" + e.key.executor,
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=" + duration(a.gracePeriod(e)),
		"MESOS_FRAMEWORK_ID=" + e.key.framework,
		"MESOS_HTTP_COMMAND_EXECUTOR=0",
		"MESOS_SANDBOX=" + sandbox,
		"MESOS_SLAVE_ID=" + a.id,
		"MESOS_SLAVE_PID=slave(1)@" + a.addr,
		"PATH=" + defaultPath,
	}
	if a.cfg.Secret != "" {
		env = append(env, tokenEnv+"="+executorToken(a.cfg.Secret, e.key))
	}
	if e.framework.GetCheckpoint() {
		env = append(env, "MESOS_CHECKPOINT=1",
			"MESOS_RECOVERY_TIMEOUT="+duration(a.cfg.RecoveryTimeout),
			"MESOS_SUBSCRIPTION_BACKOFF_MAX="+duration(a.cfg.SubscriptionBackoffMax))
	} else {
		env = append(env, "MESOS_CHECKPOINT=0")
	}
	if e.info.Command.Environment != nil {
		for _, v := range e.info.Command.Environment.Variables {
			env = append(env, v.Name+"="+v.GetValue())
		}
	}
	return env
}

// linkVolumes makes the persistent volumes among given visible in the sandbox
// (rule 21).
func (a *agent) linkVolumes(e *executor, given []mesos.Resource) error {
	list, err := resources.FromProto(given)
	if err != nil {
		return err
	}
	for _, r := range list {
		if r.Volume == nil || filepath.IsAbs(r.Volume.ContainerPath) {
			continue
		}
		link := filepath.Join(a.sandbox(e), r.Volume.ContainerPath)
		target := a.volumeDir(r)
		if have, err := os.Readlink(link); err == nil && have == target {
			continue
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink(target, link)); err != nil {
			return err
		}
	}
	return nil
}

// fetchAll brings an executor's files into its sandbox.
func fetchAll(ctx context.Context, uris []mesos.CommandInfo_URI, sandbox string) error {
	for _, uri := range uris {
		if err := fetch(ctx, uri, sandbox); err != nil {
			return fmt.Errorf("fetch %s: %w", uri.Value, err)
		}
	}
	return nil
}

func fetch(ctx context.Context, uri mesos.CommandInfo_URI, sandbox string) error {
	name := path.Base(strings.TrimRight(uri.Value, "/"))
	if uri.OutputFile != nil {
		name = filepath.Clean("/" + *uri.OutputFile)
	}
	source, err := open(ctx, uri.Value)
	if err != nil {
		return err
	}
	defer source.Close()
	mode := os.FileMode(0o644)
	if uri.GetExecutable() {
		mode = 0o755
	}
	target := filepath.Join(sandbox, name)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, source)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if uri.GetExecutable() || uri.Extract != nil && !*uri.Extract {
		return nil
	}
	return unpack(ctx, target, sandbox)
}

// unpack unpacks what its name says is a tar archive, and leaves all else as it
// is. (Mesos knows .gz and .zip as well.)
func unpack(ctx context.Context, archive, sandbox string) error {
	for _, suffix := range []string{".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz"} {
		if strings.HasSuffix(archive, suffix) {
			if said, err := exec.CommandContext(ctx, "tar", "-C", sandbox, "-xf", archive).CombinedOutput(); err != nil {
				return fmt.Errorf("unpack: %w: %s", err, bytes.TrimSpace(said))
			}
			return nil
		}
	}
	return nil
}

// open opens a path, a file:// URI or an http(s):// URI.
func open(ctx context.Context, uri string) (io.ReadCloser, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "", "file":
		return os.Open(u.Path)
	case "http", "https":
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, errors.Join(errors.New(resp.Status), resp.Body.Close())
		}
		return resp.Body, nil
	}
	return nil, fmt.Errorf("scheme %q is not known: use a path, file:// or http(s)://", u.Scheme)
}
