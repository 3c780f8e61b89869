package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/executor/mycnf"
)

const (
	// maxBody of a request, in bytes. The largest sensible one, a create with many overrides, is a few kB.
	maxBody = 1 << 20
	// maxDiscard is how much of a larger one is read, and thrown away, to be able to answer it.
	maxDiscard = 16 << 20
)

// readBody reads a request's body and says whether it is JSON; else it is a form.
func readBody(r *http.Request) (body []byte, isJSON bool, err error) {
	// Addresses are logged by proxies and remembered by shells; the original looked at the body only, too.
	if r.URL.RawQuery != "" {
		return nil, false, invalid("", "parameters belong into the body of the request", "with curl: -d cluster_user=app")
	}
	kind := "application/x-www-form-urlencoded" // without a body curl sends no type
	if header := r.Header.Get("Content-Type"); header != "" {
		if kind, _, err = mime.ParseMediaType(header); err != nil {
			kind = header
		}
	}
	switch kind {
	case "application/json":
		isJSON = true
	case "application/x-www-form-urlencoded":
	default:
		return nil, false, fail(http.StatusUnsupportedMediaType, v1.CodeMediaType, fmt.Sprintf("content type %q is not supported", kind),
			"send application/json or application/x-www-form-urlencoded")
	}
	if r.ContentLength > maxBody && r.Header.Get("Expect") != "" {
		return nil, isJSON, tooLarge() // the client asks before it sends
	}
	body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, isJSON, invalid("", "the request ended too early", err.Error())
	case len(body) > maxBody:
		// Answered in the middle of its sending, a client would see a broken connection instead of the answer.
		_, _ = io.CopyN(io.Discard, r.Body, maxDiscard)
		return nil, isJSON, tooLarge()
	}
	return body, isJSON, nil
}

// readCreate reads what a POST asks for.
func readCreate(r *http.Request) (asked v1.Create, isJSON bool, err error) {
	body, isJSON, err := readBody(r)
	if err != nil {
		return asked, isJSON, err
	}
	if isJSON {
		asked.Nodes = 1
		return asked, true, readJSON(body, &asked)
	}
	asked, err = createForm(body)
	return asked, false, err
}

// readForm reads a form. A parameter that is not known is refused: a misspelt one must not be a default in silence.
func readForm(body []byte, known ...string) (url.Values, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		// The error quotes the body, which may hold a password.
		return nil, invalid("", "the form is malformed", "want name=value&name=value with percent escapes; with curl: --data-urlencode")
	}
	for name, values := range form {
		switch {
		case !strings.Contains(" "+strings.Join(known, " ")+" ", " "+name+" "):
			return nil, invalid(printable(name), "unknown parameter", "known are "+strings.Join(known, ", "))
		case len(values) > 1:
			return nil, invalid(name, "the parameter is given more than once", "")
		}
	}
	return form, nil
}

// createForm reads the original's parameters.
func createForm(body []byte) (v1.Create, error) {
	form, err := readForm(body, "cluster_user", "num_nodes", "size", "backup_id", "restore_to", "cluster_password")
	if err != nil {
		return v1.Create{}, err
	}
	asked := v1.Create{User: form.Get("cluster_user"), Password: form.Get("cluster_password"), BackupID: form.Get("backup_id"),
		RestoreTo: form.Get("restore_to"), Nodes: 1}
	if asked.User == "" {
		return asked, invalid("cluster_user", "Invalid user name: ", "cluster_user is needed: the account that clients of the cluster use")
	}
	if text := form.Get("num_nodes"); text != "" {
		if asked.Nodes, err = strconv.Atoi(text); err != nil {
			return asked, invalid("num_nodes", "Invalid number of cluster nodes: "+printable(text), "want a whole number")
		}
	}
	if text := form.Get("size"); text != "" {
		size, err := v1.ParseSize(text)
		if err != nil {
			return asked, invalid("size", err.Error(), "")
		}
		asked.Size = &size
	}
	return asked, nil
}

// readJSON reads exactly one document with only known fields.
func readJSON(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return invalid("", "the body goes on after the JSON document", "")
		}
		return nil
	case errors.As(err, &wrongType):
		return invalid(wrongType.Field, fmt.Sprintf("a %s is not expected here", wrongType.Value), fmt.Sprintf("want %s", wrongType.Type))
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("", "the body is not JSON", err.Error())
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if field, unknown := strings.CutPrefix(text, "unknown field "); unknown {
		return invalid(strings.Trim(field, `"`), "unknown field", "")
	}
	return invalid("size", text, "") // the only field that reads itself
}

// Lexical rules of what is kept as maps. Labels go into inventories, overrides into a my.cnf, scalars into offers.
var (
	labelName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$`)
	optionName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)
	scalarName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,62}$`)
)

const (
	maxEntries = 64  // of one map
	maxValue   = 512 // of one value, in bytes
)

func checkExtras(asked v1.Create) error {
	if err := checkMap("labels", asked.Labels, labelName); err != nil {
		return err
	}
	if err := checkMap("config", asked.Config, optionName); err != nil {
		return err
	}
	if err := mycnf.Check(asked.Config); err != nil {
		return invalid("config", err.Error(), "")
	}
	if err := checkMap("constraints", asked.Constraints, labelName); err != nil {
		return err
	}
	for name, values := range asked.Constraints {
		if slices.Contains(strings.Split(values, "|"), "") {
			return invalid("constraints."+name, fmt.Sprintf("%q: one of the values is empty", values), "want values of the attribute, separated by |")
		}
	}
	for name := range asked.Scalars { // their amounts are for the spec to say
		if !scalarName.MatchString(name) {
			return invalid("scalars", fmt.Sprintf("%q is not a name of a resource", printable(name)), "names match "+scalarName.String())
		}
	}
	return nil
}

func checkMap(field string, m map[string]string, names *regexp.Regexp) error {
	if len(m) > maxEntries {
		return invalid(field, fmt.Sprintf("more than %d entries", maxEntries), "")
	}
	for name, value := range m {
		if !names.MatchString(name) {
			return invalid(field, fmt.Sprintf("%q is not a name", printable(name)), "names match "+names.String())
		}
		if len(value) > maxValue || printable(value) != value {
			return invalid(field+"."+name, "the value is too long or has control characters", fmt.Sprintf("at most %d bytes", maxValue))
		}
	}
	return nil
}

// printable cuts text to what may be repeated in an answer or put on one line of a file.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text)
	if len(text) > maxValue {
		return strings.ToValidUTF8(text[:maxValue], "")
	}
	return text
}
