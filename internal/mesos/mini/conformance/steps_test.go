package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// do does what the recorder did without showing it:
//
//	bind TOKEN HOST              the agent on HOST is {{TOKEN}}
//	subscribe LABEL TOKEN INFO   a framework {{TOKEN}} with INFO in its FrameworkInfo
//	launch LABEL TASK EXEC HOST [DATA] [cpus=N] [port=N] [unacknowledged]  a task, until it runs
//	suppress LABEL, revive LABEL
//	launched TASK                its executor has the task
//	unacknowledged TASK          its updates are left alone
//	teardown LABEL, drop LABEL   the framework; its connection
//	pass FROM TO                 FROM gives back its offers and wants none, TO wants them
//	hold LABEL HOST TOKEN        an offer of HOST is held as {{TOKEN}}
//	offers LABEL HOST...         offers of exactly these hosts come
//	soon LABEL HOST              HOST is offered before the default filter has ended
//	late LABEL HOST              HOST is not offered before that
//	silence LABEL MS             nothing but heartbeats comes
//	quiet                        what came so far is not looked at
//	kill-agent HOST, start-agent HOST, inactive-agent HOST
//	unregister-agent HOST, ended HOST   it leaves in good order; its process is over
//	kill-executor TASK, pid TASK, kill-pid, dead, signal EXEC STOP|CONT TASK
//	gone TASK                    the agent has noticed that the task is over
//	said EXEC                    the executor tried a call in vain
//	inactive TOKEN, completed TOKEN   what the master says of a framework
//	unavailable ADDR             the master does not lead; ADDR does
func (p *player) do(args []string) error {
	switch verb, args := args[0], args[1:]; verb {
	case "bind":
		id, err := p.agentID(args[1])
		p.known["{{"+args[0]+"}}"] = id
		return err
	case "subscribe":
		return p.doSubscribe(args[0], args[1], strings.Join(args[2:], " "))
	case "launch":
		return p.doLaunch(args)
	case "launched":
		return poll(func() bool {
			for _, e := range p.executorEvents() {
				if text(e, "launch", "task", "task_id", "value") == args[0] {
					return true
				}
			}
			return false
		})
	case "gone":
		return p.awaitState("tasks", func(t any) bool {
			return text(t, "task_id", "value") == args[0] && text(t, "state") == "TASK_FAILED"
		})
	case "unacknowledged":
		p.unacknowledged[args[0]] = true
		return nil
	case "teardown":
		return p.call(args[0], `"type":"TEARDOWN"`)
	case "suppress":
		return p.call(args[0], `"type":"SUPPRESS"`)
	case "revive":
		return p.call(args[0], `"type":"REVIVE"`)
	case "drop":
		s := p.streams[args[0]]
		s.cancel()
		<-s.ended
		delete(p.streams, args[0])
		return nil
	case "pass":
		return p.doPass(args[0], args[1])
	case "hold":
		agent, err := p.agentID(args[1])
		if err != nil {
			return err
		}
		p.known["{{"+args[2]+"}}"], err = p.newest(p.streams[args[0]], agent)
		return err
	case "offers":
		return p.doOffers(args[0], args[1:])
	case "soon", "late":
		return p.doReturn(args[0], args[1], verb == "soon")
	case "silence":
		return p.doSilence(args[0], args[1])
	case "quiet":
		for _, s := range p.streams {
			s.pending = nil
		}
		return nil
	case "kill-agent":
		return p.mini.KillAgent(args[0])
	case "start-agent":
		return p.mini.StartAgent(args[0])
	case "unregister-agent":
		return p.mini.UnregisterAgent(args[0])
	case "ended":
		return poll(func() bool { return p.mini.AgentURL(args[0]) == "" })
	case "inactive-agent":
		return p.awaitAgent(args[0], false)
	case "inactive":
		return p.awaitFramework("frameworks", args[0])
	case "completed":
		return p.awaitFramework("completed_frameworks", args[0])
	case "unavailable":
		p.mini.Standby(args[0])
		return nil
	}
	return p.doProcess(args)
}

// doProcess does what concerns an executor's process.
func (p *player) doProcess(args []string) (err error) {
	switch verb, args := args[0], args[1:]; verb {
	case "pid":
		p.pid, err = p.executorPID(args[0])
		return err
	case "kill-pid":
		return syscall.Kill(-p.pid, syscall.SIGKILL)
	case "dead":
		return poll(func() bool { return errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) })
	case "kill-executor":
		pid, err := p.executorPID(args[0])
		if err != nil {
			return err
		}
		return syscall.Kill(-pid, syscall.SIGKILL)
	case "signal":
		pid, err := p.executorPID(args[2])
		if err != nil {
			return err
		}
		return syscall.Kill(-pid, map[string]syscall.Signal{"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}[args[1]])
	case "said":
		return poll(func() bool { return strings.Contains(p.sandboxFiles(args[0], "stderr"), "call:") })
	}
	return fmt.Errorf("%q is nothing to do", args[0])
}

// sandboxFiles are the files of one name in the sandboxes of an executor.
func (p *player) sandboxFiles(executor, name string) string {
	paths, err := filepath.Glob(filepath.Join(p.mini.AgentDir("agent?.example"), "slaves/*/frameworks/*/executors", executor, "runs/*", name))
	if err != nil {
		p.t.Fatal(err)
	}
	all := ""
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			p.t.Fatal(err)
		}
		all += string(data)
	}
	return all
}

// doPass has one framework give up its offers and another want them. Which
// offers there are is asked of the master: some may still be on their way.
func (p *player) doPass(from, to string) error {
	for _, label := range []string{from, to} {
		if err := p.call(label, `"type":"SUPPRESS"`); err != nil {
			return err
		}
		answer, err := p.operator(`{"type":"GET_FRAMEWORKS"}`)
		if err != nil {
			return err
		}
		frameworks, _ := walk(answer, "get_frameworks", "frameworks").([]any)
		for _, f := range frameworks {
			offers, _ := walk(f, "offers").([]any)
			for _, o := range offers {
				if text(f, "framework_info", "id", "value") != p.streams[label].fw {
					continue
				}
				p.dead[text(o, "id", "value")] = true
				err := p.call(label, fmt.Sprintf(`"type":"DECLINE","decline":{"offer_ids":[%s],"filters":{"refuse_seconds":0}}`, spell(walk(o, "id"))))
				if err != nil {
					return err
				}
			}
		}
	}
	return p.call(to, `"type":"REVIVE"`)
}

// awaitState waits until one of the master's tasks is as wanted.
func (p *player) awaitState(list string, ok func(any) bool) error {
	return poll(func() bool {
		answer, err := p.operator(`{"type":"GET_TASKS"}`)
		tasks, _ := walk(answer, "get_tasks", list).([]any)
		for _, t := range tasks {
			if err == nil && ok(t) {
				return true
			}
		}
		return false
	})
}

func (p *player) awaitFramework(list, name string) error {
	return poll(func() bool {
		answer, err := p.operator(`{"type":"GET_FRAMEWORKS"}`)
		frameworks, _ := walk(answer, "get_frameworks", list).([]any)
		for _, f := range frameworks {
			if err == nil && text(f, "framework_info", "id", "value") == p.known["{{"+name+"}}"] &&
				walk(f, "active") == false && walk(f, "connected") == false && walk(f, "offers") == nil {
				return true
			}
		}
		return false
	})
}

// operator makes a call of the operator API.
func (p *player) operator(call string) (any, error) {
	resp, err := p.client.Post(p.mini.URL()+"/api/v1", "application/json", strings.NewReader(call))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, data)
	}
	return parse(string(data))
}

func (p *player) agentID(host string) (string, error) {
	answer, err := p.operator(`{"type":"GET_AGENTS"}`)
	if err != nil {
		return "", err
	}
	list, _ := walk(answer, "get_agents", "agents").([]any)
	for _, a := range list {
		if text(a, "agent_info", "hostname") == host {
			return text(a, "agent_info", "id", "value"), nil
		}
	}
	return "", fmt.Errorf("no agent %s is registered", host)
}

func (p *player) awaitAgents() {
	p.t.Helper()
	for _, host := range []string{"agent1.example", "agent2.example"} {
		if err := p.awaitAgent(host, true); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *player) awaitAgent(host string, active bool) error {
	err := poll(func() bool {
		answer, err := p.operator(`{"type":"GET_AGENTS"}`)
		list, _ := walk(answer, "get_agents", "agents").([]any)
		for _, a := range list {
			if err == nil && text(a, "agent_info", "hostname") == host && walk(a, "active") == active {
				return true
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("agent %s active: %w", host, err)
	}
	return nil
}

// doSubscribe subscribes a framework whose subscription is not shown.
func (p *player) doSubscribe(label, token, info string) error {
	l := line{verb: "send", args: []string{label, http.MethodPost, "/api/v1/scheduler", "stream"},
		body: `{"type":"SUBSCRIBE","subscribe":{"framework_info":{` + info + `}}}`}
	if err := p.send(l); err != nil {
		return err
	}
	delete(p.waiting, label)
	s := p.streams[label]
	if s == nil {
		return errors.New("not subscribed")
	}
	e, err := s.next("SUBSCRIBED")
	if err != nil {
		return err
	}
	p.known["{{"+token+"}}"] = text(e, "subscribed", "framework_id", "value")
	return nil
}

// next takes the next event of a kind from the stream.
func (s *listener) next(kind string) (any, error) {
	deadline := time.After(patience)
	for {
		for i, e := range s.pending {
			if text(e, "type") == kind {
				s.pending = append(s.pending[:i], s.pending[i+1:]...)
				return e, nil
			}
		}
		select {
		case e, ok := <-s.events:
			if !ok {
				return nil, fmt.Errorf("the stream ended before %s came", kind)
			}
			s.take(e)
		case <-deadline:
			return nil, fmt.Errorf("no %s came", kind)
		}
	}
}

// doLaunch launches a task whose launch is not shown and acknowledges its
// updates; with "unacknowledged" all but TASK_RUNNING.
func (p *player) doLaunch(args []string) error {
	label, task, executor, host := args[0], args[1], args[2], args[3]
	data, keep, cpus, ports := "run", false, "0.2", ""
	for _, more := range args[4:] {
		switch name, value, _ := strings.Cut(more, "="); name {
		case "unacknowledged":
			keep = true
		case "cpus":
			cpus = value
		case "port":
			ports = fmt.Sprintf(`,{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":%s,"end":%s}]}}`, value, value)
		default:
			data = more
		}
	}
	agent, err := p.agentID(host)
	if err != nil {
		return err
	}
	s := p.streams[label]
	offer, err := p.newest(s, agent)
	if err != nil {
		return err
	}
	p.dead[offer] = true
	framework := s.fw
	encoded, err := json.Marshal([]byte(data))
	if err != nil {
		return err
	}
	// The same ExecutorInfo as in the excerpts, so that tasks can share one.
	err = p.call(label, fmt.Sprintf(`"type":"ACCEPT","accept":{"offer_ids":[{"value":%q}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[{`+
		`"name":%q,"task_id":{"value":%q},"agent_id":{"value":%q},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":%s}},{"name":"mem","type":"SCALAR","scalar":{"value":64}}%s],`+
		`"executor":{"executor_id":{"value":%q},"name":"demo executor","source":"demo","command":{"value":%q,"environment":{"variables":[{"name":"DEMO_VAR","value":"demo"}]}},`+
		`"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":32}}],"framework_id":{"value":%q},"type":"CUSTOM"},"data":%s}]}}],"filters":{"refuse_seconds":0}}`,
		offer, task, task, agent, cpus, ports, executor, p.known["{{executor}}"], framework, encoded))
	if err != nil || data == "late" {
		return err
	}
	for {
		e, err := s.next("UPDATE")
		if err != nil {
			return err
		}
		status := walk(e, "update", "status")
		running := text(status, "state") == "TASK_RUNNING"
		if text(status, "task_id", "value") != task {
			return fmt.Errorf("an update of %s while %s was launched", text(status, "task_id", "value"), task)
		}
		s.seen[text(status, "uuid")] = true
		if !running || !keep {
			if err := p.acknowledge(label, status); err != nil {
				return err
			}
		}
		if running {
			return nil
		}
	}
}

func (p *player) doOffers(label string, hosts []string) error {
	s := p.streams[label]
	want := map[string]bool{}
	for _, h := range hosts {
		want[h] = true
	}
	for len(want) > 0 {
		e, err := s.next("OFFERS")
		if err != nil {
			return fmt.Errorf("%w; still wanted: %v", err, want)
		}
		list, _ := walk(e, "offers", "offers").([]any)
		for _, o := range list {
			if !want[text(o, "hostname")] {
				return fmt.Errorf("an offer of %s came", text(o, "hostname"))
			}
			delete(want, text(o, "hostname"))
		}
	}
	return nil
}

// doReturn waits for an offer of a host, and holds how long that took since the
// last request against the default filter.
func (p *player) doReturn(label, host string, soon bool) error {
	for {
		e, err := p.streams[label].next("OFFERS")
		if err != nil {
			return err
		}
		took := time.Since(p.sent)
		list, _ := walk(e, "offers", "offers").([]any)
		for _, o := range list {
			if text(o, "hostname") != host {
				continue
			}
			if soon != (took < p.cfg.DefaultFilter) {
				return fmt.Errorf("%s was offered again after %s; the default filter is %s", host, took, p.cfg.DefaultFilter)
			}
			return nil
		}
	}
}

func (p *player) doSilence(label, ms string) error {
	n, err := strconv.Atoi(ms)
	if err != nil {
		return err
	}
	s := p.streams[label]
	over := time.After(time.Duration(n) * time.Millisecond)
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				return errors.New("the stream ended")
			}
			if text(e, "type") != "HEARTBEAT" {
				return fmt.Errorf("%s came", spell(e))
			}
		case <-over:
			return nil
		}
	}
}

// executorPID finds the process of a task's executor in the task's statuses.
func (p *player) executorPID(task string) (int, error) {
	answer, err := p.operator(`{"type":"GET_TASKS"}`)
	if err != nil {
		return 0, err
	}
	list, _ := walk(answer, "get_tasks", "tasks").([]any)
	for _, t := range list {
		statuses, _ := walk(t, "statuses").([]any)
		if text(t, "task_id", "value") != task || len(statuses) == 0 {
			continue
		}
		return strconv.Atoi(plain(walk(statuses[len(statuses)-1], "container_status", "executor_pid")))
	}
	return 0, fmt.Errorf("task %s has no status", task)
}
