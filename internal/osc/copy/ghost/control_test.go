package ghost

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestCommandEndsWithContext: a child that does not answer (stopped, or swapping) keeps nobody waiting who was told to stop.
func TestCommandEndsWithContext(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := make(chan error)
	go func() {
		_, err := Command(ctx, socket, CommandStatus)
		failed <- err
	}()
	conn, err := listener.Accept() // and say nothing
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begun := time.Now()
	cancel(errors.New("STOP"))
	if err := <-failed; err == nil || ctx.Err() == nil {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took >= answerLimit {
		t.Errorf("it took %v", took)
	}
}
