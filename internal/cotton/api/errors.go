package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/framework"
)

// failure is an error that knows its answer.
type failure struct {
	status int
	body   v1.Error
}

func (f *failure) Error() string { return f.body.Message }

func fail(status int, code, message, detail string) *failure {
	return &failure{status: status, body: v1.Error{Code: code, Message: message, Detail: detail}}
}

func invalid(field, message, detail string) *failure {
	return &failure{status: http.StatusBadRequest, body: v1.Error{Code: v1.CodeInvalid, Message: message, Field: field, Detail: detail}}
}

// The messages of the next four are the original's, to the letter: scripts compare them.

func notFound(name string) *failure {
	return fail(http.StatusNotFound, v1.CodeNotFound, fmt.Sprintf("Cluster '%s' not found", name), "")
}

func exists(name string) *failure {
	return fail(http.StatusConflict, v1.CodeExists, fmt.Sprintf("Cluster '%s' already exists", name),
		"choose another name; one that is being deleted is free again once it is gone from the list")
}

func noPermission(name string) *failure {
	return fail(http.StatusForbidden, v1.CodeForbidden, "No permission to kill cluster "+name,
		"the password of the cluster's user is needed, in the body as password=...")
}

func tooLarge() *failure {
	return fail(http.StatusRequestEntityTooLarge, v1.CodeTooLarge, fmt.Sprintf("the request is larger than %d bytes", maxBody), "")
}

func unavailable(why string) *failure {
	return fail(http.StatusServiceUnavailable, v1.CodeUnavailable, "Service unavailable. Try again later", why)
}

// answerTo turns any error into an answer. What nobody foresaw is logged whole and answered without details, which
// may name hosts and paths that are none of the client's business.
func (s *server) answerTo(err error) *failure {
	var known *failure
	var wrong *cotton.InvalidError
	var refused *cotton.RefusedError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &wrong):
		return invalid(wrong.Field, wrong.Error(), "")
	case errors.As(err, &refused):
		return fail(http.StatusConflict, v1.CodeRefused, refused.Error(), "")
	case errors.Is(err, framework.ErrNotReady):
		return unavailable(s.notReadyReason())
	}
	return nil
}

func (s *server) notReadyReason() string {
	if why := s.Framework.Health().Problem; why != "" {
		return why
	}
	return framework.ErrNotReady.Error()
}
