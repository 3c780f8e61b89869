package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mesos/mini"
	"github.com/aosc/aosc/internal/mesos/mini/minitest"
	"github.com/aosc/aosc/internal/testkit"
)

// patience is how long anything recorded may take to come here.
const patience = testkit.Patience

// player replays one excerpt.
type player struct {
	t        *testing.T
	mini     *mini.Mini
	cfg      mini.Config
	client   *http.Client
	known    bindings
	streams  map[string]*listener
	waiting  map[string]*http.Response // responses that were not compared yet
	acked    map[string]bool           // uuid tokens that the excerpt itself acknowledges
	answered map[string]bool           // uuids that the player has acknowledged by itself
	// unacknowledged are tasks whose updates the recorder left alone.
	unacknowledged map[string]bool
	dead           map[string]bool // offers that were used or given back
	later          []line          // the executor's side, compared at the end
	pid            int             // of an executor, for a step that needs it later
	sent           time.Time       // the last request
}

// listener reads one stream.
type listener struct {
	id      string // of the stream
	fw      string // the framework that is subscribed on it
	cancel  context.CancelFunc
	events  chan any
	ended   chan struct{}
	clean   bool
	pending []any
	held    map[string]any // offers by id
	seen    map[string]bool
}

// speeds are the times of a Mini in a replay: a twentieth and less of Mesos'.
func speeds(dir string) mini.Config {
	return mini.Config{
		Dir: dir, AllocationInterval: 40 * time.Millisecond, UpdateRetryInterval: 400 * time.Millisecond,
		DefaultFilter: 250 * time.Millisecond, AgentPingTimeout: 160 * time.Millisecond,
		ExecutorReregistrationTimeout: 600 * time.Millisecond, ExecutorRegistrationTimeout: time.Minute,
		Agents: []mini.AgentConfig{
			{Name: "agent1.example", CPUs: 4, MemMB: 2048, DiskMB: 8192, Ports: "31000-31099", Attributes: map[string]string{"rack": "a", "zone": "west"}},
			{Name: "agent2.example", CPUs: 4, MemMB: 2048, DiskMB: 8192, Ports: "32000-32099", Attributes: map[string]string{"rack": "b", "zone": "west"}},
		},
	}
}

// newPlayer starts a Mini for an excerpt.
func newPlayer(t *testing.T, change func(*mini.Config)) *player {
	t.Helper()
	cfg := speeds(t.TempDir())
	if change != nil {
		change(&cfg)
	}
	m, err := mini.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{t: t, mini: m, cfg: cfg, known: bindings{}, streams: map[string]*listener{}, waiting: map[string]*http.Response{},
		acked: map[string]bool{}, answered: map[string]bool{}, unacknowledged: map[string]bool{}, dead: map[string]bool{},
		client: &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	t.Cleanup(func() {
		for _, l := range p.streams {
			l.cancel()
			<-l.ended
		}
		if err := p.mini.StopAll(context.Background()); err != nil {
			t.Error(err)
		}
		p.client.CloseIdleConnections()
	})
	p.bindAddresses()
	return p
}

// replay plays an excerpt against a fresh Mini.
func replay(t *testing.T, name string, change func(*mini.Config)) {
	p := newPlayer(t, change)
	p.awaitAgents()
	p.playScript(name, 0)
	// What an executor saw names uuids that the scheduler's side binds.
	for _, l := range p.later {
		if err := p.executorEvent(l); err != nil {
			t.Fatalf("%s.txt %s: %v", name, l, err)
		}
	}
	p.checkNothingMore(name)
}

// playScript plays an excerpt up to a line number, or to its end when that is 0.
func (p *player) playScript(name string, last int) {
	p.t.Helper()
	script := readScript(p.t, name)
	for _, l := range script {
		if l.verb == "send" && strings.Contains(l.body, `"ACKNOWLEDGE`) {
			for _, u := range token.FindAllString(l.body, -1) {
				p.acked[u] = true
			}
		}
	}
	for _, l := range script {
		if last > 0 && l.number > last {
			return
		}
		if err := p.play(l); err != nil {
			p.t.Fatalf("%s.txt %s: %v", name, l, err)
		}
	}
}

func (p *player) bindAddresses() {
	bind := func(recorded, url string) {
		addr := strings.TrimPrefix(url, "http://")
		p.known["{{at"+recorded+"}}"] = addr
		p.known["{{port"+recorded+"}}"] = addr[strings.LastIndexByte(addr, ':')+1:]
	}
	bind("5050", p.mini.URL())
	bind("5051", p.mini.AgentURL("agent1.example"))
	bind("5052", p.mini.AgentURL("agent2.example"))
	p.known["{{executor}}"] = minitest.Command()
}

func (p *player) play(l line) error {
	executor := len(l.args) > 0 && strings.HasPrefix(l.args[0], "EXECUTOR")
	switch {
	case l.verb == "do":
		return p.do(l.args)
	case executor && l.verb == "event":
		p.later = append(p.later, l)
		return nil
	case executor:
		return nil // a real executor makes its own calls
	case l.verb == "send":
		return p.send(l)
	case l.verb == "recv":
		return p.receive(l)
	case l.verb == "event":
		return p.expect(l.args[0], l.body)
	case l.verb == "end":
		return p.expectEnd(l.args[0], l.args[1])
	}
	return errors.New("not a line that is known")
}

// send sends a recorded request with our ids.
func (p *player) send(l line) error {
	label, method, path := l.args[0], l.args[1], l.args[2]
	if err := p.bindOffers(label, l.body); err != nil {
		return err
	}
	for _, name := range uuidToken.FindAllString(l.body, -1) {
		if _, ok := p.known[name]; !ok {
			p.known[name] = "AAAAAAAAQACAAAAAAAAAAA==" // one that the recorder made up
		}
	}
	body := p.known.fill(l.body)
	if t := token.FindString(body); t != "" {
		return fmt.Errorf("nothing stands for %s", t)
	}
	ctx, cancel := context.WithCancel(context.Background())
	base := p.mini.URL()
	if strings.HasSuffix(path, "/executor") || label == "AGENT" {
		base = p.mini.AgentURL("agent1.example")
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
	if err != nil {
		cancel()
		return err
	}
	for _, h := range p.headers(l, path, body) {
		name, value, _ := strings.Cut(h, ":")
		req.Header.Set(name, p.known.fill(strings.TrimSpace(value)))
	}
	p.sent = time.Now()
	resp, err := p.client.Do(req)
	if err != nil {
		cancel()
		return err
	}
	if len(l.args) > 3 && resp.StatusCode == http.StatusOK {
		p.listen(label, resp, cancel)
	} else {
		p.t.Cleanup(cancel)
	}
	p.waiting[label] = resp
	return nil
}

// headers are a request's: as recorded, or those of its kind.
func (p *player) headers(l line, path, body string) []string {
	out := l.headers
	if out == nil {
		out = []string{"Content-Type: application/json", "Accept: application/json"}
		if strings.HasSuffix(strings.TrimRight(path, "/"), "/scheduler") && !strings.Contains(body, `"type":"SUBSCRIBE"`) {
			out = append(out, "Mesos-Stream-Id: own")
		}
	}
	if len(out) == 1 && out[0] == "-" {
		return nil
	}
	out = append([]string(nil), out...)
	for i, h := range out {
		if name, value, _ := strings.Cut(h, ": "); name == "Mesos-Stream-Id" && (value == "own" || strings.HasPrefix(value, "{{")) {
			id := "none"
			if s := p.streams[l.args[0]]; s != nil {
				id = s.id
			}
			out[i] = "Mesos-Stream-Id: " + id
		}
	}
	return out
}

var uuidToken = regexp.MustCompile(`\{\{U\d+\}\}`)
var offerToken = regexp.MustCompile(`\{\{[a-z]?O\d+\}\}`)
var agentToken = regexp.MustCompile(`\{\{[a-z]?S\d+\}\}`)

// bindOffers lets an offer that the excerpt does not show be the newest one
// of the agent in question.
func (p *player) bindOffers(label, body string) error {
	for _, name := range offerToken.FindAllString(body, -1) {
		if _, ok := p.known[name]; ok {
			continue
		}
		agent := p.known[agentToken.FindString(body)]
		if agent == "" && !strings.Contains(body, `"DECLINE"`) {
			var err error
			if agent, err = p.agentID("agent1.example"); err != nil {
				return err
			}
		}
		s := p.streams[label]
		if s == nil {
			return fmt.Errorf("no stream to have %s from", name)
		}
		id, err := p.largest(s, agent, launchedCPUs(body))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		p.known[name] = id
		p.dead[id] = true
	}
	for _, name := range offerToken.FindAllString(body, -1) {
		p.dead[p.known[name]] = true
	}
	return nil
}

var cpusToken = regexp.MustCompile(`"name":"cpus","type":"SCALAR","scalar":\{"value":([0-9.]+)\}`)

// mostCPUs is what an agent that is otherwise idle offers in any case. What asks for more is refused, in the recording as well.
const mostCPUs = 2

// launchedCPUs is what an offer must hold for what a request launches: an agent whose task has just ended may offer its resources in
// parts.
func launchedCPUs(body string) float64 {
	sum := 0.0
	if strings.Contains(body, `"LAUNCH"`) {
		for _, m := range cpusToken.FindAllStringSubmatch(body, -1) {
			n, _ := strconv.ParseFloat(m[1], 64) // the pattern is that of a number
			sum += n
		}
	}
	if sum > mostCPUs {
		return 0
	}
	return sum
}

// newest waits for an offer of an agent, or of any.
func (p *player) newest(s *listener, agent string) (string, error) { return p.largest(s, agent, 0) }

// largest is newest with at least so many processors.
func (p *player) largest(s *listener, agent string, least float64) (string, error) {
	deadline := time.After(patience)
	for {
		best, cpus := "", -1.0
		for id, o := range s.held {
			if !p.dead[id] && (agent == "" || text(o, "agent_id", "value") == agent) && size(o) > cpus {
				best, cpus = id, size(o)
			}
		}
		if best != "" && cpus >= least {
			return best, nil
		}
		select {
		case e, ok := <-s.events:
			if !ok {
				return "", errors.New("the stream ended before an offer came")
			}
			s.take(e)
		case <-deadline:
			return "", errors.New("no offer came")
		}
	}
}

func size(o any) float64 {
	total := 0.0
	list, _ := walk(o, "resources").([]any)
	for _, r := range list {
		if v, err := strconv.ParseFloat(plain(walk(r, "scalar", "value")), 64); err == nil && text(r, "name") == "cpus" {
			total += v
		}
	}
	return total
}

// receive compares a response.
func (p *player) receive(l line) error {
	resp := p.waiting[l.args[0]]
	if resp == nil {
		return errors.New("no request was sent")
	}
	delete(p.waiting, l.args[0])
	status := strings.Join(l.args[1:], " ")
	var body []byte
	stream := p.streams[l.args[0]]
	streaming := resp.StatusCode == http.StatusOK && strings.Contains(strings.Join(l.headers, "\n"), "Mesos-Stream-Id") ||
		strings.Contains(strings.Join(l.headers, "\n"), "chunked")
	if !streaming {
		var err error
		if body, err = io.ReadAll(resp.Body); err != nil {
			return err
		}
		resp.Body.Close()
	}
	if resp.Status != status {
		return fmt.Errorf("recorded %s, ours %s: %s", status, resp.Status, body)
	}
	if err := p.compareHeaders(l.headers, resp); err != nil {
		return err
	}
	if streaming {
		if stream == nil {
			return errors.New("no stream")
		}
		return nil
	}
	return p.compareBody(l.body, string(body))
}

// compareHeaders compares all headers but Date, Content-Length and the
// Connection: close that the recorder's client asked for.
func (p *player) compareHeaders(recorded []string, resp *http.Response) error {
	want := map[string]string{}
	for _, h := range recorded {
		name, value, _ := strings.Cut(h, ":")
		want[name] = strings.TrimSpace(value)
	}
	if len(resp.TransferEncoding) > 0 {
		resp.Header.Set("Transfer-Encoding", strings.Join(resp.TransferEncoding, ","))
	}
	for name, values := range resp.Header {
		if name == "Date" || name == "Content-Length" || name == "Connection" {
			continue
		}
		if name == "Mesos-Stream-Id" && want[name] != "" {
			delete(want, name) // new for each
			continue
		}
		value, there := want[name]
		if !there {
			return fmt.Errorf("header %s: %v was not recorded", name, values)
		}
		if err := p.known.match(value, values[0]); err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		return fmt.Errorf("headers that did not come: %v", want)
	}
	return nil
}

func (p *player) compareBody(recorded, ours string) error {
	if !strings.HasPrefix(recorded, "{") {
		return p.known.match(strings.TrimRight(recorded, "\n "), strings.TrimRight(ours, "\n "))
	}
	r, err := parse(recorded)
	if err != nil {
		return fmt.Errorf("the excerpt: %w", err)
	}
	o, err := parse(ours)
	if err != nil {
		return fmt.Errorf("ours is no JSON: %w: %s", err, ours)
	}
	return p.known.compare(r, o, "")
}

// executorEvent compares an event as the executor noted it in its sandbox.
func (p *player) executorEvent(l line) error {
	want, err := parse(l.body)
	if err != nil {
		return fmt.Errorf("the excerpt: %w", err)
	}
	var last error
	err = poll(func() bool {
		for _, e := range p.executorEvents() {
			if identity(e) != identity(want) {
				continue
			}
			try := p.known.clone()
			if last = try.compare(want, e, ""); last == nil {
				p.known = try
				return true
			}
		}
		return false
	})
	return errors.Join(err, last)
}

func (p *player) executorEvents() []any {
	var out []any
	for _, agent := range []string{"agent1.example", "agent2.example"} {
		paths, err := filepath.Glob(filepath.Join(p.mini.AgentDir(agent), "slaves/*/frameworks/*/executors/*/runs/*/events"))
		if err != nil {
			p.t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				p.t.Fatal(err)
			}
			for _, record := range bytes.Split(data, []byte("\n")) {
				if e, err := parse(string(record)); err == nil {
					out = append(out, e)
				}
			}
		}
	}
	return out
}

// poll waits until ok holds.
func poll(ok func() bool) error {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			return errors.New("it did not come to pass")
		}
		<-tick.C
	}
	return nil
}
