package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves the pages every daemon has:
//
//	/healthz  200 as long as the process can answer
//	/readyz   200 while the last pass succeeded or the daemon stands by, else 503; the reason is in the body
//	/metrics  Prometheus
func (e *Env) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		note, err := e.state.get()
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			note = err.Error()
		}
		if note == "" {
			note = "ok"
		}
		_, _ = fmt.Fprintln(w, note)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(e.Metrics, promhttp.HandlerOpts{Registry: e.Metrics}))
	return mux
}

// serve listens on addr and returns a function that stops the server and waits for it. An empty addr or "off" serves
// nothing.
func (e *Env) serve(addr string) (stop func(), err error) {
	if addr == "" || addr == "off" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for /healthz, /readyz and /metrics on %s: %w; choose another --listen", addr, err)
	}
	server := &http.Server{Handler: e.Handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			e.Log.Error("the health and metrics pages ended", "error", err)
		}
	}()
	e.Log.Info("serving /healthz, /readyz and /metrics", "listen", listener.Addr().String())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // a scraper that does not hang up must not keep the daemon
		}
		<-done
	}, nil
}
