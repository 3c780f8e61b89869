package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/framework"
)

// Operating is what the API asks of the framework about clusters that run.
type Operating interface {
	Switchover(ctx context.Context, name string, o framework.SwitchoverOptions) (cotton.Transition, error)
	Failover(ctx context.Context, name, why string, dryRun bool) (risk string, err error)
	Operate(ctx context.Context, name string, req cotton.Request, dryRun bool) (framework.Planned, error)
	Cancel(ctx context.Context, name string, dryRun bool) (framework.Planned, error)
	ForceDelete(ctx context.Context, name string) error
	Drain(ctx context.Context, hostname string, o framework.DrainOptions) (framework.Draining, error)
	Drainings(ctx context.Context) []framework.Draining
	LeftBehind() []cotton.LeftBehind
	Withheld() []cotton.Withheld
}

// operationRoutes are those of clusters that run, and of agents.
func (s *server) operationRoutes(routes map[string]map[string]endpoint) {
	for path, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"/clusters/{name}/switchover": s.switchover,
		"/clusters/{name}/failover":   s.failover,
		"/clusters/{name}/replace":    s.replace,
		"/clusters/{name}/scale":      s.scale,
		"/clusters/{name}/restart":    s.restart,
		"/clusters/{name}/configure":  s.configure,
		"/clusters/{name}/upgrade":    s.upgrade,
		"/clusters/{name}/cancel":     s.cancel,
		"/agents/{agent}/drain":       s.drain,
	} {
		routes[path] = map[string]endpoint{http.MethodPost: {RoleWrite, serve}}
	}
	routes["/clusters/{name}/history"] = map[string]endpoint{http.MethodGet: {RoleRead, s.history}}
	routes["/agents"] = map[string]endpoint{http.MethodGet: {RoleRead, s.agents}}
}

// readAsked reads the JSON body of a request; none is an empty document.
func readAsked(r *http.Request, into any) error {
	body, isJSON, err := readBody(r)
	switch {
	case err != nil:
		return err
	case len(body) == 0:
		return nil
	case !isJSON:
		return fail(http.StatusUnsupportedMediaType, v1.CodeMediaType, "a form is not supported here", "send application/json")
	}
	return readJSON(body, into)
}

// maxWhy of a reason, in bytes.
const maxWhy = 200

// maxSeconds of a switchover: a day.
const maxSeconds = 24 * 60 * 60

func checkWhy(why string) error {
	if len(why) > maxWhy || printable(why) != why {
		return invalid("why", "the text is too long or has control characters", fmt.Sprintf("at most %d bytes", maxWhy))
	}
	return nil
}

func (s *server) switchover(w http.ResponseWriter, r *http.Request) error {
	var asked v1.Switchover
	if err := readAsked(r, &asked); err != nil {
		return err
	}
	if asked.To < 0 {
		return invalid("to", fmt.Sprintf("%d is not the id of a member", asked.To), "0 or absent = the one that is placed best")
	}
	for _, s := range []struct {
		field string
		value int
	}{{"max_lag_seconds", asked.MaxLagSeconds}, {"within_seconds", asked.WithinSeconds}} {
		if s.value < 0 || s.value > maxSeconds {
			return invalid(s.field, fmt.Sprintf("%d: want 0 to %d", s.value, maxSeconds), "0 or absent = 10")
		}
	}
	if err := checkWhy(asked.Why); err != nil {
		return err
	}
	name := r.PathValue("name")
	t, err := s.Framework.Switchover(r.Context(), name, framework.SwitchoverOptions{
		To: asked.To, Why: asked.Why, DryRun: asked.DryRun,
		MaxLag: time.Duration(asked.MaxLagSeconds) * time.Second, Within: time.Duration(asked.WithinSeconds) * time.Second,
	})
	if err != nil {
		return named(err, name)
	}
	to, id := fmt.Sprintf("%s-%d", name, t.To), 0
	if t.Op != nil {
		id = t.Op.ID
	}
	return writeJSON(w, accepted(asked.DryRun), v1.Planned{Cluster: name, ID: id, What: "switchover to " + to,
		DryRun: asked.DryRun, Warnings: []string{},
		Steps: []string{"close the primary for writes", "wait until " + to + " has executed all of it",
			"open " + to + ", publish it, and have the others follow it"}})
}

func (s *server) failover(w http.ResponseWriter, r *http.Request) error {
	var asked v1.Failover
	if err := readAsked(r, &asked); err != nil {
		return err
	}
	if err := checkWhy(asked.Why); err != nil {
		return err
	}
	if !asked.AcceptLoss && !asked.DryRun {
		return invalid("accept_loss", "is needed: this failover may lose writes that were acknowledged",
			"one that loses none begins by itself; show says what keeps it from that")
	}
	name := r.PathValue("name")
	risk, err := s.Framework.Failover(r.Context(), name, asked.Why, asked.DryRun)
	if err != nil {
		return named(err, name)
	}
	return writeJSON(w, accepted(asked.DryRun), v1.Planned{Cluster: name, What: "failover with whoever answers", DryRun: asked.DryRun, Warnings: []string{risk},
		Steps: []string{"stop the replicas that answer", "have the one with most apply what it has received", "open it, publish it, and have the others follow it"}})
}

// accepted is the status of what goes on after the answer.
func accepted(dryRun bool) int {
	if dryRun {
		return http.StatusOK
	}
	return http.StatusAccepted
}

func (s *server) replace(w http.ResponseWriter, r *http.Request) error {
	var asked v1.Replace
	if err := readAsked(r, &asked); err != nil {
		return err
	}
	if asked.Member == 0 {
		return invalid("member", "is needed: the id of the one that goes", "")
	}
	return s.operate(w, r, asked.Asked, cotton.Request{Kind: cotton.OpReplace, Member: asked.Member, InPlace: asked.InPlace, Discard: asked.Discard})
}

func (s *server) scale(w http.ResponseWriter, r *http.Request) error {
	var asked v1.Scale
	if err := readAsked(r, &asked); err != nil {
		return err
	}
	return s.operate(w, r, asked.Asked, cotton.Request{Kind: cotton.OpScale, Nodes: asked.Nodes, Policy: cotton.Policy(asked.Policy)})
}

func (s *server) restart(w http.ResponseWriter, r *http.Request) error {
	var asked v1.Restart
	if err := readAsked(r, &asked); err != nil {
		return err
	}
	return s.operate(w, r, asked.Asked, cotton.Request{Kind: cotton.OpRestart, Member: asked.Member})
}

func (s *server) configure(w http.ResponseWriter, r *http.Request) error {
	var asked v1.Configure
	if err := readAsked(r, &asked); err != nil {
		return err
	}
	if len(asked.Set)+len(asked.Unset) == 0 {
		return invalid("set", "nothing is to be set or unset", "")
	}
	if err := checkMap("set", asked.Set, optionName); err != nil {
		return err
	}
	if len(asked.Unset) > maxEntries {
		return invalid("unset", fmt.Sprintf("more than %d entries", maxEntries), "")
	}
	for _, name := range asked.Unset {
		if !optionName.MatchString(name) {
			return invalid("unset", fmt.Sprintf("%q is not a name", printable(name)), "names match "+optionName.String())
		}
		if _, both := asked.Set[name]; both {
			return invalid("unset", fmt.Sprintf("%q is to be set, too", name), "")
		}
	}
	return s.operate(w, r, asked.Asked, cotton.Request{Kind: cotton.OpConfigure, Set: asked.Set, Unset: asked.Unset})
}

func (s *server) upgrade(w http.ResponseWriter, r *http.Request) error {
	var asked v1.Upgrade
	if err := readAsked(r, &asked); err != nil {
		return err
	}
	uri, known := s.Packages[asked.Package]
	if !known {
		return invalid("package", fmt.Sprintf("Unknown package %q", printable(asked.Package)), knownNames("the scheduler's --packages has", s.Packages))
	}
	return s.operate(w, r, asked.Asked, cotton.Request{Kind: cotton.OpUpgrade, Package: uri, Version: cotton.PackageVersion(asked.Package, uri)})
}

func (s *server) operate(w http.ResponseWriter, r *http.Request, asked v1.Asked, req cotton.Request) error {
	if err := checkWhy(asked.Why); err != nil {
		return err
	}
	name := r.PathValue("name")
	req.Why = asked.Why
	p, err := s.Framework.Operate(r.Context(), name, req, asked.DryRun)
	if err != nil {
		return named(err, name)
	}
	return writePlanned(w, p, asked.DryRun)
}

func (s *server) cancel(w http.ResponseWriter, r *http.Request) error {
	var asked v1.Cancel
	if err := readAsked(r, &asked); err != nil {
		return err
	}
	name := r.PathValue("name")
	p, err := s.Framework.Cancel(r.Context(), name, asked.DryRun)
	if err != nil {
		return named(err, name)
	}
	return writePlanned(w, p, asked.DryRun)
}

func writePlanned(w http.ResponseWriter, p framework.Planned, dryRun bool) error {
	out := v1.Planned{Cluster: p.Cluster, What: p.Text, DryRun: dryRun, Steps: append([]string{}, p.Steps...), Warnings: append([]string{}, p.Warnings...)}
	if p.Operation != nil {
		out.ID = p.Operation.ID
	}
	return writeJSON(w, accepted(dryRun), out)
}

func (s *server) drain(w http.ResponseWriter, r *http.Request) error {
	var asked v1.Drain
	if err := readAsked(r, &asked); err != nil {
		return err
	}
	if err := checkWhy(asked.Why); err != nil {
		return err
	}
	d, err := s.Framework.Drain(r.Context(), r.PathValue("agent"), framework.DrainOptions{Undo: asked.Undo, Why: asked.Why, DryRun: asked.DryRun})
	if err != nil {
		return err
	}
	out := drainingDocument(d)
	out.DryRun = asked.DryRun
	return writeJSON(w, accepted(asked.DryRun), out)
}

func (s *server) agents(w http.ResponseWriter, r *http.Request) error {
	if !s.Framework.Health().Ready {
		return framework.ErrNotReady
	}
	out := v1.Agents{Draining: []v1.Draining{}, LeftBehind: []v1.LeftBehind{}}
	for _, d := range s.Framework.Drainings(r.Context()) {
		out.Draining = append(out.Draining, drainingDocument(d))
	}
	for _, l := range s.Framework.LeftBehind() {
		out.LeftBehind = append(out.LeftBehind, v1.LeftBehind{Cluster: l.Cluster, Member: l.Member, Agent: l.Hostname, VolumeID: l.VolumeID, At: l.At})
	}
	out.Withheld = withheldDocuments(s.Framework.Withheld())
	return writeJSON(w, http.StatusOK, out)
}

func drainingDocument(d framework.Draining) v1.Draining {
	out := v1.Draining{Agent: d.Hostname, Since: d.Since, Why: d.Why, Left: []v1.DrainLeft{}}
	for _, l := range d.Left {
		out.Left = append(out.Left, v1.DrainLeft{Cluster: l.Cluster, Instance: l.Name, Steps: l.Steps, Waits: l.Waits})
	}
	return out
}

func (s *server) history(w http.ResponseWriter, r *http.Request) error {
	v, err := s.cluster(r)
	if err != nil {
		return err
	}
	out := v1.History{Cluster: v.Record.Spec.Name, Change: changeDocument(v.Record, v.Record.Change), Operation: operationDocument(v, v.Record.Operation),
		Changes: []v1.Change{}, Operations: []v1.Operation{}}
	for _, c := range v.Record.History {
		out.Changes = append(out.Changes, *changeDocument(v.Record, &c))
	}
	for _, op := range v.Record.Operations {
		out.Operations = append(out.Operations, *operationDocument(v, &op))
	}
	for _, s := range v.Record.Strays {
		out.Strays = append(out.Strays, v1.Stray{At: s.At, Instance: v.Record.MemberName(s.Member), GTIDs: s.GTIDs, Adopted: s.Adopted,
			Note: s.Note})
	}
	return writeJSON(w, http.StatusOK, out)
}

func changeDocument(r cotton.Record, c *cotton.Change) *v1.Change {
	if c == nil {
		return nil
	}
	out := &v1.Change{Kind: string(c.Kind), Step: string(c.Step), From: r.MemberName(c.From), Why: c.Why, Began: c.Began, Ended: c.Ended,
		TakenBack: c.Taken, Log: stepDocuments(c.Log, c.Began, c.Ended)}
	if c.To != 0 {
		out.To = r.MemberName(c.To)
	}
	return out
}

// operationDocument is an operation as it is, or was; v.Waits is of the one under way.
func operationDocument(v framework.View, op *cotton.Operation) *v1.Operation {
	if op == nil {
		return nil
	}
	out := &v1.Operation{ID: op.ID, Kind: string(op.Kind), What: op.Text(v.Record), Why: op.Why, Auto: op.Auto, Canceled: op.Canceled,
		Missing: op.Missing, Began: op.Began, Ended: op.Ended, Result: string(op.Result), Log: stepDocuments(op.Log, op.Began, op.Ended)}
	if op.Result == "" {
		out.Waits = v.Waits
	}
	return out
}

func stepDocuments(log []cotton.Step, began, ended time.Time) []v1.Step {
	out := make([]v1.Step, len(log))
	for i, step := range log {
		out[i] = v1.Step{At: step.At, AfterMS: step.At.Sub(began).Milliseconds(), Step: step.Step, Note: step.Note}
		switch {
		case i+1 < len(log):
			out[i].TookMS = log[i+1].At.Sub(step.At).Milliseconds()
		case ended.IsZero():
			out[i].TookMS = -1
		default:
			out[i].TookMS = ended.Sub(step.At).Milliseconds()
		}
	}
	return out
}

// readDelete reads what a DELETE brings.
func readDelete(r *http.Request) (password string, force bool, err error) {
	body, isJSON, err := readBody(r)
	if err != nil {
		return "", false, err
	}
	if isJSON {
		var asked struct {
			Password string `json:"password"`
			Force    bool   `json:"force"`
		}
		err := readJSON(body, &asked)
		return asked.Password, asked.Force, err
	}
	form, err := readForm(body, "password", "force")
	if force := form.Get("force"); err == nil && force != "" && force != "true" && force != "false" {
		return "", false, invalid("force", fmt.Sprintf("%q is neither true nor false", printable(force)), "")
	}
	return form.Get("password"), form.Get("force") == "true", err
}
