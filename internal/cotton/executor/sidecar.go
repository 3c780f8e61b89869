package executor

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/process"
)

// sidecarPrograms of the pipeline run beside mysqld, so that a launched cluster is covered without further set-up. They
// lie beside the executor's own program and are configured by AOSC_* variables, which they inherit.
var sidecarPrograms = []string{"checksum", "oscworker"}

const (
	sidecarWait    = time.Second
	maxSidecarWait = time.Minute
	sidecarGrace   = 10 * time.Second
)

// sidecars are the programs beside one mysqld.
type sidecars struct {
	done chan struct{}
	wg   sync.WaitGroup
}

func (x *Executor) startSidecars(task cotton.Task) *sidecars {
	s := &sidecars{done: make(chan struct{})}
	if !task.Sidecars {
		return s
	}
	env := append(os.Environ(),
		fmt.Sprintf("AOSC_INSTANCE=%s:%d", task.Host, task.Port),
		"AOSC_LISTEN=off", // no port of the host is theirs
	)
	if task.Tier != "" {
		env = append(env, "AOSC_TIER="+task.Tier)
	}
	for _, name := range sidecarPrograms {
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			s.keep(filepath.Join(x.cfg.ProgramDir, name), env, x.cfg.Log)
		}()
	}
	return s
}

// keep runs a program again and again; the pause grows while it ends at once.
func (s *sidecars) keep(program string, env []string, log *slog.Logger) {
	wait := sidecarWait
	for {
		begun := time.Now()
		err := s.runOnce(program, env)
		select {
		case <-s.done:
			return
		default:
		}
		if time.Since(begun) > maxSidecarWait {
			wait = sidecarWait
		}
		log.Warn("a sidecar ended", "program", program, "error", err, "again_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.done:
			timer.Stop()
			return
		}
		wait = min(2*wait, maxSidecarWait)
	}
}

// runOnce returns when the program has ended, by itself or since all end.
func (s *sidecars) runOnce(program string, env []string) error {
	cmd := exec.Command(program)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, os.Stdout, os.Stderr // the sandbox's files
	p, err := process.Start(cmd)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
		return p.Wait()
	case <-s.done:
	}
	ctx, cancel := contextFor(sidecarGrace)
	defer cancel()
	return p.Stop(ctx)
}

func (s *sidecars) stop() {
	close(s.done)
	s.wg.Wait()
}
