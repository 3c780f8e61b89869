package api

import (
	"net/http"
	"testing"
)

// Whatever is not a question needs the right to write, so that the open port of a scheduler without tokens never takes it.
func TestChangesNeedTheRightToWrite(t *testing.T) {
	changes := 0
	for path, methods := range (&server{Config: Config{Daemon: http.NotFoundHandler()}}).routes() {
		for method, e := range methods {
			if method == http.MethodGet {
				continue
			}
			if changes++; e.needs != RoleWrite {
				t.Errorf("%s %s needs %v, want %v", method, path, e.needs, RoleWrite)
			}
		}
	}
	if changes < 10 {
		t.Errorf("%d routes change something, want at least 10: are all of them looked at?", changes)
	}
}
