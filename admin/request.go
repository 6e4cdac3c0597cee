package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"hookswitch/control"
	"hookswitch/schema"
)

// request is one request under way: what a handler gets, and what it answers by. Its strings are its
// own; http is fasthttp's and ends with the handler.
type request struct {
	*Server
	http *fasthttp.RequestCtx
	ctx  context.Context // the store's time for it
	op   *operation
	args map[string]string
	// who asks; nil for an operation that is open to anybody.
	who *identity
	// config is the configuration that the request is about, one version for all of it, and refused the
	// projects that are not in use as they are kept; project is that of an operation with Project, never
	// nil there. Read them, don't change them.
	config  *schema.Config
	refused []control.Refused
	project *schema.Project
	// Of a create with an Idempotency-Key: the name that stands for it, what is chosen for it comes of
	// seed, and again says that it may have been done already. Else they are empty.
	once  string
	seed  []byte
	again bool
	// shownOnce is a token that was made, for the answer.
	shownOnce string

	read []byte // the body, once it has been read
}

// arg returns what {name} in the operation's path stands for.
func (r *request) arg(name string) string { return r.args[name] }

// query returns a parameter of the URL, "" where there is none.
func (r *request) query(name string) string { return string(r.http.QueryArgs().Peek(name)) }

// header returns a header of the request, "" where there is none.
func (r *request) header(name string) string { return string(r.http.Request.Header.Peek(name)) }

// body reads the request's body, up to limit bytes. It may be called again.
func (r *request) body(limit int) ([]byte, error) {
	if len(r.read) > limit {
		return nil, tooLarge(limit)
	} else if r.read != nil {
		return r.read, nil
	}
	if length := r.http.Request.Header.ContentLength(); length > limit {
		return nil, tooLarge(limit)
	}
	from := r.http.RequestBodyStream()
	if from == nil {
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(from, int64(limit)+1))
	switch {
	case err != nil:
		return nil, refusal{status: fasthttp.StatusBadRequest, message: "the body broke off"}
	case len(b) > limit:
		return nil, tooLarge(limit)
	}
	r.read = b
	return b, nil
}

func tooLarge(limit int) error {
	return refusal{status: fasthttp.StatusRequestEntityTooLarge, message: fmt.Sprintf("want a body of at most %d bytes", limit)}
}

// decode reads the request's JSON body into v, strictly: an unknown field is refused with its name.
func (r *request) decode(v any) error {
	b, err := r.body(maxBody)
	if err != nil {
		return err
	}
	return decodeJSON(b, v)
}

func decodeJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return refusalOfJSON(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return badJSON("more after its end")
	}
	return nil
}

// finish answers 500 where the handler panicked: fasthttp would let the process die. It is deferred.
func (r *request) finish() {
	if fault := recover(); fault != nil {
		r.log.Error("recovered a panic; please report it", zap.Any("panic", fault), zap.ByteString("stack", debug.Stack()))
		r.http.Response.Reset()
		r.refuse(refusal{status: fasthttp.StatusInternalServerError, message: "an internal fault; the log has the details"})
	}
	r.skip()
	r.metrics.count(r)
}

// skip reads on over what is left of a body that nobody wanted: closing on unread data resets the
// connection, and the answer may be lost with it (RFC 9112, 9.6).
func (r *request) skip() {
	from := r.http.RequestBodyStream()
	if from == nil {
		return
	}
	if n, err := io.CopyN(io.Discard, from, 2*maxProject); n == 2*maxProject || err != io.EOF {
		r.http.SetConnectionClose()
	}
}
