package mini

import (
	"log/slog"
	"net/http"
	"sync"

	"github.com/aosc/aosc/internal/mesos/mini/wire"
)

// stream is one subscription: events on their way to a scheduler, an executor
// or an operator. Events wait without bound for a reader that is slow, as
// they do in Mesos.
type stream struct {
	media wire.Media
	wake  chan struct{}

	mu    sync.Mutex
	queue [][]byte
	ended bool // finish with the zero-length chunk once the queue is written
	cut   bool // drop the connection as a killed process does
}

func newStream(m wire.Media) *stream {
	return &stream{media: m, wake: make(chan struct{}, 1)}
}

type message interface{ Marshal() ([]byte, error) }

// send queues one event. A message that cannot be encoded is a defect of this
// package; it is logged, since no caller could do better.
func (s *stream) send(msg message) {
	data, err := wire.Marshal(s.media, msg)
	if err != nil {
		slog.Error("mini: event not encoded", "error", err)
		return
	}
	s.change(func() {
		if !s.ended {
			s.queue = append(s.queue, wire.Record(data))
		}
	})
}

// end finishes the stream in order: what is queued, then the zero-length chunk.
func (s *stream) end() { s.change(func() { s.ended = true }) }

// abort drops the connection, so that the reader sees a bare end of file.
func (s *stream) abort() { s.change(func() { s.cut = true }) }

func (s *stream) change(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *stream) take() (records [][]byte, ended, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	records, s.queue = s.queue, nil
	return records, s.ended, s.cut
}

// serve writes the events, one record to a chunk, until the stream ends or the
// reader goes. When it is cut, serve panics with http.ErrAbortHandler, which is
// how net/http is told to leave out the last chunk.
func (s *stream) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", s.media.String())
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	if flush.Flush() != nil {
		return
	}
	for {
		records, ended, cut := s.take()
		if cut {
			panic(http.ErrAbortHandler)
		}
		for _, record := range records {
			if _, err := w.Write(record); err != nil {
				return
			}
			if err := flush.Flush(); err != nil {
				return
			}
		}
		if ended {
			return
		}
		select {
		case <-s.wake:
		case <-r.Context().Done():
			return
		}
	}
}
