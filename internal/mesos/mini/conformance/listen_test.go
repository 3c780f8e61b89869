package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// listen reads a stream in the background.
func (p *player) listen(label string, resp *http.Response, cancel context.CancelFunc) {
	if old := p.streams[label]; old != nil {
		old.cancel()
		<-old.ended
	}
	s := &listener{id: resp.Header.Get("Mesos-Stream-Id"), cancel: cancel, events: make(chan any, 1000), ended: make(chan struct{}),
		held: map[string]any{}, seen: map[string]bool{}}
	p.streams[label] = s
	go func() {
		defer close(s.ended)
		defer close(s.events)
		defer resp.Body.Close()
		s.clean = errors.Is(records(resp.Body, s.events), io.EOF)
	}()
}

// records reads RecordIO. io.EOF is the end by the zero-length chunk; a bare
// end of the connection is io.ErrUnexpectedEOF.
func records(r io.Reader, to chan<- any) error {
	b := bufio.NewReader(r)
	for {
		head, err := b.ReadString('\n')
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(strings.TrimSuffix(head, "\n"))
		if err != nil {
			return err
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(b, data); err != nil {
			return err
		}
		e, err := parse(string(data))
		if err != nil {
			return err
		}
		to <- e
	}
}

// take notes an event that came.
func (s *listener) take(e any) {
	if id := text(e, "subscribed", "framework_id", "value"); id != "" {
		s.fw = id
	}
	if text(e, "type") == "RESCIND" {
		delete(s.held, text(e, "rescind", "offer_id", "value"))
	}
	if text(e, "type") == "OFFERS" {
		list, _ := walk(e, "offers", "offers").([]any)
		for _, o := range list {
			s.held[text(o, "id", "value")] = o
		}
	}
	s.pending = append(s.pending, e)
}

// expect waits for an event that is as recorded. Offers and heartbeats that
// the excerpt leaves out are passed over; of one task the updates must come in
// order.
func (p *player) expect(label, recorded string) error {
	want, err := parse(recorded)
	if err != nil {
		return fmt.Errorf("the excerpt: %w", err)
	}
	s := p.streams[label]
	if s == nil {
		return fmt.Errorf("label %s has no stream", label)
	}
	deadline := time.After(patience)
	nudge := time.NewTicker(1500 * time.Millisecond)
	defer nudge.Stop()
	var last error
	looked := 0
	for {
		for ; looked < len(s.pending); looked++ {
			e := s.pending[looked]
			if identity(e) != identity(want) {
				continue
			}
			try := p.known.clone()
			last = try.compare(want, e, "")
			if last != nil {
				if kind := text(e, "type"); kind == "OFFERS" || kind == "RESCIND" || s.seen[repetition(e)] {
					continue
				}
				return last
			}
			p.known = try
			s.pending = append(s.pending[:looked], s.pending[looked+1:]...)
			s.seen[repetition(e)] = true
			return p.autoAcknowledge(label, want, e)
		}
		select {
		case e, ok := <-s.events:
			if !ok {
				return errors.Join(errors.New("the stream ended"), last)
			}
			s.take(e)
			if err := p.acknowledgeAgain(label, e); err != nil {
				return err
			}
		case <-nudge.C:
			// What came free in pieces was offered in pieces: give it back, to
			// have it in one.
			if text(want, "type") == "OFFERS" && last != nil {
				if err := p.giveBack(label); err != nil {
					return err
				}
			}
		case <-deadline:
			return errors.Join(fmt.Errorf("did not come: %s; waiting: %s", p.known.fill(recorded), spell(s.pending)), last)
		}
	}
}

// giveBack declines all offers that a label holds.
func (p *player) giveBack(label string) error {
	for id := range p.streams[label].held {
		if p.dead[id] {
			continue
		}
		p.dead[id] = true
		if err := p.call(label, fmt.Sprintf(`"type":"DECLINE","decline":{"offer_ids":[{"value":%q}],"filters":{"refuse_seconds":0}}`, id)); err != nil {
			return err
		}
	}
	return nil
}

// autoAcknowledge acknowledges what the recorder acknowledged without showing
// it: updates whose uuid no shown call names.
func (p *player) autoAcknowledge(label string, want, e any) error {
	status := walk(e, "update", "status")
	uuid := text(status, "uuid")
	if uuid == "" || p.unacknowledged[text(status, "task_id", "value")] || p.acked[text(want, "update", "status", "uuid")] {
		return nil
	}
	return p.acknowledge(label, status)
}

// acknowledgeAgain answers an update that was acknowledged and comes again, since its agent was killed before it heard of that: the next
// one of that task would not come else.
func (p *player) acknowledgeAgain(label string, e any) error {
	status := walk(e, "update", "status")
	if text(e, "type") != "UPDATE" || !p.answered[text(status, "uuid")] {
		return nil
	}
	return p.acknowledge(label, status)
}

func (p *player) acknowledge(label string, status any) error {
	p.answered[text(status, "uuid")] = true
	return p.call(label, fmt.Sprintf(`"type":"ACKNOWLEDGE","acknowledge":{"agent_id":%s,"task_id":%s,"uuid":%q}`,
		spell(walk(status, "agent_id")), spell(walk(status, "task_id")), text(status, "uuid")))
}

// call makes a call that the excerpt does not show.
func (p *player) call(label, members string) error {
	body := fmt.Sprintf(`{"framework_id":{"value":%q},%s}`, p.streams[label].fw, members)
	req, err := http.NewRequest(http.MethodPost, p.mini.URL()+"/api/v1/scheduler", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Mesos-Stream-Id", p.streams[label].id)
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		text, err := io.ReadAll(resp.Body)
		return errors.Join(fmt.Errorf("%s: %s", resp.Status, text), err)
	}
	return nil
}

func (p *player) expectEnd(label, how string) error {
	s := p.streams[label]
	if s == nil {
		return nil
	}
	deadline := time.After(patience)
	for {
		select {
		case e, ok := <-s.events:
			if ok {
				s.take(e)
				continue
			}
			<-s.ended
			if s.clean != (how == "clean") {
				return fmt.Errorf("the stream ended with the last chunk: %t; recorded %s", s.clean, how)
			}
			return nil
		case <-deadline:
			return errors.New("the stream did not end")
		}
	}
}

// repetition is the uuid by which an event that is repeated is known, empty
// for events that are not.
func repetition(e any) string {
	return text(e, "update", "status", "uuid") + text(e, "update_operation_status", "status", "uuid", "value")
}

// checkNothingMore fails for events that were not recorded. Offers, heartbeats
// and repetitions are timing.
func (p *player) checkNothingMore(name string) {
	for label, s := range p.streams {
		for more := true; more; {
			select {
			case e, ok := <-s.events:
				more = ok
				if ok {
					s.take(e)
				}
			default:
				more = false
			}
		}
		for _, e := range s.pending {
			kind := text(e, "type")
			if kind == "OFFERS" || kind == "HEARTBEAT" || kind == "RESCIND" || repetition(e) != "" && s.seen[repetition(e)] {
				continue
			}
			p.t.Errorf("%s.txt: %s was sent %s, which was not recorded", name, label, spell(e))
		}
	}
}
