// Package api serves cotton's HTTP API: the original's form routes, unchanged for its clients, and JSON for everything
// else. Every failure, wherever it comes from, has the body of v1.Failure.
//
//	POST   /clusters/<name>            create: form as in the original, or JSON (v1.Create)
//	DELETE /clusters/<name>            delete, with the cluster's password
//	GET    /clusters                   all clusters
//	GET    /clusters/<name>            one
//	GET    /clusters/<name>/endpoints  where clients connect
//	GET    /clusters/<name>/why        what it waits for, per agent
//	GET    /clusters/<name>/backups    those in the store, and how far each leads
//	POST   /clusters/<name>/backups    make one now
//	GET    /clusters/<name>/history    changes of primary and operations, with every step
//	POST   /clusters/<name>/switchover replace scale restart configure upgrade cancel
//	GET    /agents                     those that are being drained
//	POST   /agents/<hostname>/drain    have instances leave an agent
//	GET    /haproxy.cfg                the configuration for HAProxy, all clusters
//	GET    /health                     how the scheduler stands
//	GET    /healthz /readyz /metrics   as every daemon has them
package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/framework"
)

// Framework is what the API asks for; framework.Framework is one.
type Framework interface {
	Create(ctx context.Context, spec cotton.Spec) (cotton.Record, error)
	Delete(ctx context.Context, name string) error
	Clusters(ctx context.Context) ([]framework.View, error)
	Cluster(ctx context.Context, name string) (framework.View, error)
	Why(ctx context.Context, name string) (framework.Wait, error)
	Endpoints(ctx context.Context, name string) (framework.Endpoints, error)
	Health() framework.Health
	Backup(ctx context.Context, name string) (time.Time, error)
	Backups(ctx context.Context, name string) (list []framework.Recoverable, problems []string, err error)
	Operating
}

var _ Framework = (*framework.Framework)(nil)

// Config of the API. Framework and ClusterURL are needed.
type Config struct {
	Framework Framework
	// Tokens says who may do what. Without them everybody who reaches the port may look, and what changes anything comes
	// through the Unix socket (Listen.WorkDir): for 127.0.0.1 only.
	Tokens *Tokens
	// OpenWrites lets everybody who reaches the port do everything, where there are no Tokens.
	OpenWrites bool
	// Sizes are those that requests may name. DefaultSize is for requests without one.
	Sizes       map[string]cotton.Size
	DefaultSize cotton.Size
	// Packages are the URIs of what a request may name as package. A user of the API never says what an agent downloads.
	Packages map[string]string
	// ClusterURL is where a cluster's endpoints are found, e.g. zk://host:2181/cotton/discover/c0. No credentials.
	ClusterURL func(name string) string
	// HAProxy is the configuration as it is now; nil = none is kept.
	HAProxy func() ([]byte, error)
	// Daemon serves /healthz, /readyz and /metrics; nil = not served.
	Daemon  http.Handler
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// server is the API.
type server struct {
	Config
	requests *prometheus.HistogramVec
}

// New returns the API as a handler. Serve gives it a port.
func New(c Config) http.Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{Config: c, requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "cotton_api_request_seconds", Help: "Requests to the API, by route, method and status.",
	}, []string{"route", "method", "status"})}
	if c.Metrics != nil {
		c.Metrics.MustRegister(s.requests, newRequested(c.Framework))
	}
	mux := http.NewServeMux()
	for path, methods := range s.routes() {
		mux.Handle(path, s.route(path, methods))
	}
	return s.guard(mux)
}

// endpoint answers a request, or says why not. It has written nothing when it returns an error.
type endpoint struct {
	needs Role
	serve func(w http.ResponseWriter, r *http.Request) error
}

func (s *server) routes() map[string]map[string]endpoint {
	get := func(needs Role, serve func(http.ResponseWriter, *http.Request) error) map[string]endpoint {
		return map[string]endpoint{http.MethodGet: {needs, serve}}
	}
	routes := map[string]map[string]endpoint{
		"/clusters": get(RoleRead, s.list),
		"/clusters/{name}": {
			http.MethodPost:   {RoleWrite, s.create},
			http.MethodDelete: {RoleWrite, s.delete},
			http.MethodGet:    {RoleRead, s.show},
		},
		"/clusters/{name}/endpoints": get(RoleRead, s.endpoints),
		"/clusters/{name}/why":       get(RoleRead, s.why),
		"/clusters/{name}/backups": {
			http.MethodGet:  {RoleRead, s.backups},
			http.MethodPost: {RoleWrite, s.backup},
		},
		"/haproxy.cfg": get(RoleRead, s.haproxy),
		"/health":      get(RoleRead, s.health),
		"/":            nil,
	}
	s.operationRoutes(routes)
	if s.Daemon != nil {
		pages := func(w http.ResponseWriter, r *http.Request) error { s.Daemon.ServeHTTP(w, r); return nil }
		// A load balancer that asks whether the process is well has no token.
		routes["/healthz"], routes["/readyz"] = get(RoleNone, pages), get(RoleNone, pages)
		routes["/metrics"] = get(RoleRead, pages)
	}
	return routes
}

func (s *server) list(w http.ResponseWriter, r *http.Request) error {
	views, err := s.Framework.Clusters(r.Context())
	if err != nil {
		return err
	}
	list := v1.Clusters{Clusters: make([]v1.Cluster, len(views))}
	for i, view := range views {
		list.Clusters[i] = s.document(view)
	}
	return writeJSON(w, http.StatusOK, list)
}

func (s *server) show(w http.ResponseWriter, r *http.Request) error {
	view, err := s.cluster(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.document(view))
}

func (s *server) endpoints(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	e, err := s.Framework.Endpoints(r.Context(), name)
	if err != nil {
		return named(err, name)
	}
	return writeJSON(w, http.StatusOK, endpointsDocument(e))
}

func (s *server) why(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	wait, err := s.Framework.Why(r.Context(), name)
	if err != nil {
		return named(err, name)
	}
	return writeJSON(w, http.StatusOK, whyDocument(wait))
}

func (s *server) haproxy(w http.ResponseWriter, _ *http.Request) error {
	if s.HAProxy == nil {
		return fail(http.StatusNotFound, v1.CodeNotFound, "no configuration for HAProxy is kept", "start the scheduler with --haproxy-file")
	}
	text, err := s.HAProxy()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(text)
	return nil
}

// health answers 200 whatever it says: /readyz is for programs that only look at the status.
func (s *server) health(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, healthDocument(s.Framework.Health()))
}

// cluster is the view of the cluster in the path.
func (s *server) cluster(r *http.Request) (framework.View, error) {
	name := r.PathValue("name")
	view, err := s.Framework.Cluster(r.Context(), name)
	return view, named(err, name)
}

// named gives the framework's errors the original's texts, which name the cluster.
func named(err error, name string) error {
	switch {
	case errors.Is(err, framework.ErrUnknown):
		return notFound(name)
	case errors.Is(err, framework.ErrExists):
		return exists(name)
	}
	return err
}

func writeJSON(w http.ResponseWriter, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // an error means that the client has gone, and nobody is left to tell
	return nil
}
