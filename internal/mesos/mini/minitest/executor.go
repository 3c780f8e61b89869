// Package minitest has the executor that tests of a single-machine Mesos
// launch. It does what the executor of the recordings did: it reports
// TASK_STARTING and TASK_RUNNING, takes 0.3 s to obey a KILL, answers messages,
// crashes when told to, and subscribes again when its agent was away.
package minitest

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const flag = "MINITEST_EXECUTOR=1"

// Command is the shell command that runs the executor. It only works in a test
// binary whose TestMain calls MaybeExecutor.
func Command() string {
	exe, err := os.Executable()
	if err != nil {
		panic(err) // a test binary on Linux always knows its own name
	}
	return flag + " exec '" + strings.ReplaceAll(exe, "'", `'\''`) + "'"
}

// MaybeExecutor runs the executor, and does not return, in a process that
// Command started. TestMain calls it first.
func MaybeExecutor() {
	name, value, _ := strings.Cut(flag, "=")
	if os.Getenv(name) != value {
		return
	}
	e := &executor{tasks: map[string]any{}, pending: map[string]any{}}
	os.Exit(e.run())
}

type executor struct {
	mu      sync.Mutex
	tasks   map[string]any // launched, no update acknowledged yet
	order   []string
	pending map[string]any // updates by uuid
	queue   []string       // their uuids in order
	late    []string       // tasks that are reported once the agent is away
}

func (e *executor) run() int {
	for {
		err := e.subscribe()
		if os.Getenv("MESOS_CHECKPOINT") != "1" {
			return 0
		}
		fmt.Fprintln(os.Stderr, "stream ended:", err)
		for _, task := range e.late {
			e.update(task, "TASK_RUNNING", map[string]any{"message": "late"})
		}
		e.late = nil
		<-time.After(100 * time.Millisecond)
	}
}

func (e *executor) call(body map[string]any) (*http.Response, error) {
	body["framework_id"] = map[string]any{"value": os.Getenv("MESOS_FRAMEWORK_ID")}
	body["executor_id"] = map[string]any{"value": os.Getenv("MESOS_EXECUTOR_ID")}
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+os.Getenv("MESOS_AGENT_ENDPOINT")+"/api/v1/executor", bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return http.DefaultClient.Do(req)
}

func (e *executor) subscribe() error {
	e.mu.Lock()
	sub := map[string]any{}
	var tasks, updates []any
	for _, id := range e.order {
		if t, ok := e.tasks[id]; ok {
			tasks = append(tasks, t)
		}
	}
	for _, uuid := range e.queue {
		if u, ok := e.pending[uuid]; ok {
			updates = append(updates, map[string]any{"status": u})
		}
	}
	e.mu.Unlock()
	if tasks != nil {
		sub["unacknowledged_tasks"] = tasks
	}
	if updates != nil {
		sub["unacknowledged_updates"] = updates
	}
	resp, err := e.call(map[string]any{"type": "SUBSCRIBE", "subscribe": sub})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	r := bufio.NewReader(resp.Body)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return err
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(r, data); err != nil {
			return err
		}
		note(data)
		var ev event
		if err := json.Unmarshal(data, &ev); err != nil {
			return err
		}
		e.handle(ev)
	}
}

// note keeps what came for the test to read, in the file "events" of the
// sandbox.
func note(record []byte) {
	f, err := os.OpenFile("events", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		return
	}
	defer f.Close()
	if _, err := f.Write(append(append([]byte(nil), record...), '\n')); err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
	}
}

type id struct{ Value string }

type event struct {
	Type   string
	Launch struct{ Task json.RawMessage }
	Kill   struct {
		TaskID id `json:"task_id"`
	}
	Message      struct{ Data []byte }
	Acknowledged struct {
		TaskID id `json:"task_id"`
		UUID   string
	}
}

func (e *executor) handle(ev event) {
	switch ev.Type {
	case "LAUNCH":
		e.launch(ev.Launch.Task)
	case "KILL":
		task := ev.Kill.TaskID.Value
		e.update(task, "TASK_KILLING", map[string]any{"message": "asked to stop"})
		time.AfterFunc(300*time.Millisecond, func() {
			e.update(task, "TASK_KILLED", map[string]any{"message": "stopped on request"})
		})
	case "ACKNOWLEDGED":
		e.mu.Lock()
		delete(e.pending, ev.Acknowledged.UUID)
		delete(e.tasks, ev.Acknowledged.TaskID.Value)
		e.mu.Unlock()
	case "SHUTDOWN":
		os.Exit(0)
	case "MESSAGE":
		e.message(string(ev.Message.Data))
	}
}

func (e *executor) launch(raw json.RawMessage) {
	var task struct {
		TaskID id `json:"task_id"`
		Data   []byte
	}
	var whole any
	if json.Unmarshal(raw, &task) != nil || json.Unmarshal(raw, &whole) != nil {
		os.Exit(4)
	}
	e.mu.Lock()
	e.tasks[task.TaskID.Value] = whole
	e.order = append(e.order, task.TaskID.Value)
	e.mu.Unlock()
	switch {
	case string(task.Data) == "late":
		// Says nothing until its agent is away.
		e.late = append(e.late, task.TaskID.Value)
		return
	case string(task.Data) == "mute":
		return
	}
	e.update(task.TaskID.Value, "TASK_STARTING", map[string]any{"message": "starting up"})
	e.update(task.TaskID.Value, "TASK_RUNNING", map[string]any{"message": "up", "data": []byte(`{"port":31000}`),
		"labels": map[string]any{"labels": []any{map[string]any{"key": "k", "value": "v"}}}})
	if string(task.Data) == "quick" {
		e.update(task.TaskID.Value, "TASK_FINISHED", map[string]any{"message": "done"})
	}
}

func (e *executor) message(text string) {
	switch text {
	case "crash":
		os.Exit(3)
	case "exit0":
		os.Exit(0)
	}
	e.post(map[string]any{"type": "MESSAGE", "message": map[string]any{"data": []byte("echo: " + text)}})
}

func (e *executor) update(task, state string, more map[string]any) {
	uuid := make([]byte, 16)
	rand.Read(uuid) // never fails since Go 1.24
	status := map[string]any{"task_id": map[string]any{"value": task}, "state": state, "source": "SOURCE_EXECUTOR", "uuid": uuid,
		"executor_id": map[string]any{"value": os.Getenv("MESOS_EXECUTOR_ID")}, "timestamp": float64(time.Now().UnixMilli()) / 1000}
	for k, v := range more {
		status[k] = v
	}
	// The key is the uuid as ACKNOWLEDGED will spell it.
	text, err := json.Marshal(uuid)
	if err != nil {
		os.Exit(4)
	}
	key := strings.Trim(string(text), `"`)
	e.mu.Lock()
	e.pending[key] = status
	e.queue = append(e.queue, key)
	e.mu.Unlock()
	e.post(map[string]any{"type": "UPDATE", "update": map[string]any{"status": status}})
}

// post sends a call; an update that does not arrive is carried by the next
// subscription.
func (e *executor) post(body map[string]any) {
	resp, err := e.call(body)
	if err != nil {
		fmt.Fprintln(os.Stderr, "call:", err)
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		fmt.Fprintln(os.Stderr, "call:", resp.Status, string(text), err)
	}
}
