package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"hookswitch/control"
	"hookswitch/schema"
	"hookswitch/store"
)

// refusal is an error with its place in HTTP. A handler returns one where it knows better than
// refusalOf what went wrong.
type refusal struct {
	status  int
	message string
	// errors are what is wrong with the request, by field; nil where it is not about fields.
	errors map[string][]string
	// retryAfter is in how many seconds to come back; 0 says nothing. allow is a 405's methods.
	retryAfter int
	allow      string
	// behind: it is said by what this instance knows, and the store may know better.
	behind bool
}

func (f refusal) Error() string { return f.message }

const wrongFields = "nothing has been changed: errors says what is wrong, by field"

// storeSilent promises nothing: what was written may have arrived, though no answer came back.
const storeSilent = "the store does not answer: a change that was under way may or may not have been done, so get it again before you repeat it (with an Idempotency-Key, a create can just be sent again). Calls are still routed; try again later"

func badJSON(problem string) error {
	return refusal{status: fasthttp.StatusBadRequest, message: "the body is no JSON object that can be read: " + problem}
}

func notFound(what string) error {
	return refusal{status: fasthttp.StatusNotFound, message: "there is no " + what}
}

// invalid refuses one field.
func invalid(field, problem string) error {
	return refusal{status: fasthttp.StatusUnprocessableEntity, message: wrongFields, errors: map[string][]string{field: {problem}}}
}

func conflict(message string) error {
	return refusal{status: fasthttp.StatusConflict, message: message}
}

func unavailable(message string) error {
	return refusal{status: fasthttp.StatusServiceUnavailable, message: message, retryAfter: 5}
}

// refusalOfJSON tells a field that is unknown or of another type, which is 422, from what is no JSON.
func refusalOfJSON(err error) error {
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return invalid(wrong.Field, fmt.Sprintf("found %s; want %s", article(wrong.Value), wantType(wrong.Type.Kind().String())))
	case errors.As(err, &wrong):
		return badJSON("want an object")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return badJSON("it ends too early")
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if name, bad := strconv.Unquote(name); bad == nil {
			return invalid(name, "found an unknown field; want none of that name")
		}
	}
	return badJSON(strings.TrimPrefix(err.Error(), "json: "))
}

func article(kind string) string {
	first, _, _ := strings.Cut(kind, " ") // "number 1.5" would show the value
	switch first {
	case "array", "object":
		return "an " + first
	case "bool":
		return "true or false"
	}
	return "a " + first
}

func wantType(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case kind == "slice":
		return "an array"
	case kind == "struct", kind == "map":
		return "an object"
	case kind == "bool":
		return "true or false"
	}
	return "a string"
}

// refusalOf gives any error its status and its words for the asker.
func refusalOf(err error) refusal {
	var known refusal
	var faults schema.Faults
	var readOnly control.ErrReadOnly
	var unreadable control.ErrUnreadable
	var notApplied control.ErrNotApplied
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &notApplied): // though it may be for a store's error, or faults
		return refusal{status: fasthttp.StatusInternalServerError, message: notApplied.Error()}
	case errors.As(err, &unreadable):
		return refusal{status: fasthttp.StatusConflict, message: unreadable.Error()}
	case errors.As(err, &readOnly):
		return refusal{status: fasthttp.StatusConflict, message: readOnly.Error()}
	case errors.As(err, &faults):
		return refusalOfFaults(faults)
	case errors.Is(err, store.ErrNotFound):
		return refusal{status: fasthttp.StatusNotFound, message: "there is none of that name"}
	case errors.Is(err, store.ErrConflict):
		return refusal{status: fasthttp.StatusPreconditionFailed, message: "it was changed by another in the meantime: get it again, then decide"}
	case errors.Is(err, store.ErrFull):
		return refusal{status: fasthttp.StatusInsufficientStorage, message: "the store has no space left: free some; nothing has been changed"}
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		f, _ := unavailable(storeSilent).(refusal)
		return f
	}
	return refusal{status: fasthttp.StatusInternalServerError, message: "an internal fault; the log has the details"}
}

// refusalOfFaults puts faults under their fields. One of the whole document is of what is no JSON.
func refusalOfFaults(faults schema.Faults) refusal {
	if len(faults) == 1 && faults[0].Key == "document" {
		return refusal{status: fasthttp.StatusBadRequest, message: "the body is no JSON object that can be read: found " + faults[0].Found + "; want " + faults[0].Want}
	}
	f := refusal{status: fasthttp.StatusUnprocessableEntity, message: wrongFields, errors: map[string][]string{}}
	for _, one := range faults {
		f.errors[one.Key] = append(f.errors[one.Key], "found "+one.Found+"; want "+one.Want)
	}
	return f
}

// refuse answers with {"success": false, "message": …}, and "errors" where fields are at fault.
func (r *request) refuse(err error) {
	f := refusalOf(err)
	if f.status == fasthttp.StatusInternalServerError {
		r.log.Error("an operation failed", zap.ByteString("path", r.http.Path()), zap.Error(err))
	}
	body := struct {
		Success bool                `json:"success"`
		Message string              `json:"message"`
		Errors  map[string][]string `json:"errors,omitempty"`
	}{false, f.message, f.errors}
	h := &r.http.Response.Header
	if f.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(f.retryAfter))
	}
	if f.allow != "" {
		h.Set("Allow", f.allow)
	}
	if f.status == fasthttp.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="hookswitch"`) // RFC 9110, 11.6.1
	}
	r.write(f.status, body)
}

// answer answers 200 with v as JSON.
func (r *request) answer(v any) error {
	r.write(fasthttp.StatusOK, v)
	return nil
}

// done answers a write that was done, as the documented API does.
func (r *request) done() error { return r.answer(success{Success: true}) }

// success is the answer to a write; a field that is added to it is our own.
type success struct {
	Success bool `json:"success"`
}

// write answers with v as JSON. Nothing of it may be kept by a proxy or a browser.
func (r *request) write(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		r.log.Error("an answer cannot be written", zap.ByteString("path", r.http.Path()), zap.Error(err))
		status, body = fasthttp.StatusInternalServerError, []byte(`{"success":false,"message":"an internal fault; the log has the details"}`)
	}
	r.http.SetStatusCode(status)
	r.http.SetContentType("application/json")
	r.http.Response.Header.Set("Cache-Control", "no-store")
	r.http.SetBody(body)
}
