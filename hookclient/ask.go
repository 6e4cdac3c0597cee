package hookclient

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// Ask asks the webhook about the call and fills a: with destinations, a scheme's id, or a named
// failure. It returns by the deadline, whatever the webhook, its name server or its network do,
// and never sends a request twice that may have been read, unless that is harmless.
//
// a.At is the present instant where the caller knows it, which saves a look at the clock, and then the
// one at which the outcome was known.
//
// With a fallback_url, the first URL gets half of the time, and the second what is left.
func (h *Hook) Ask(call *schema.Call, deadline time.Time, a *schema.Answer) {
	// One id for all the requests of a question, by which a webhook can tell a repetition.
	id, patience := h.nextID(), deadline
	if a.At.IsZero() {
		a.At = time.Now()
	}
	if h.fallback != nil {
		patience = a.At.Add(deadline.Sub(a.At) / 2)
	}
	if h.ask(h.primary, call, id, patience, a) || h.fallback == nil {
		return
	}
	failed := a.Detail
	if !h.ask(h.fallback, call, id, deadline, a) {
		a.Detail = "url: " + failed + "; fallback_url: " + a.Detail
	}
}

// ask asks one URL, once again where that is called for and there is time, and reports whether
// the webhook answered in a way that asking elsewhere would not better.
func (h *Hook) ask(t *target, call *schema.Call, id uint64, deadline time.Time, a *schema.Answer) bool {
	again := h.attempt(t, call, id, deadline, a)
	if again == never || again == ifIdempotent && !h.repeatable() {
		return answered(a.Reason)
	}
	if !pauseBefore(deadline) {
		return false
	}
	a.At = time.Now()
	h.attempt(t, call, id, deadline, a)
	return answered(a.Reason)
}

// answered tells an answer, be it one of no use, from a failure to give one.
func answered(r schema.Reason) bool {
	switch r {
	case schema.ReasonTimeout, schema.ReasonConnectError, schema.ReasonTLSError, schema.ReasonDNSError,
		schema.ReasonBadStatus, schema.ReasonBadAnswer, schema.ReasonHookBlocked, schema.ReasonOverloaded:
		return false
	}
	return true
}

// repetition says when a failed attempt may be made again.
type repetition uint8

const (
	never        repetition = iota
	ifUnread                // the request cannot have been read
	ifIdempotent            // it may have been read
)

// repeatable reports whether the webhook may see the request twice: PUT and DELETE are idempotent
// by RFC 9110, section 9.2.2, and GET is safe.
func (h *Hook) repeatable() bool {
	switch h.conf.Method {
	case "GET", "PUT", "DELETE":
		return true
	}
	return h.conf.Idempotent
}

// pauseBefore waits a moment before a second attempt, so that a restarting server has a chance,
// and reports whether enough time is left to make one.
func pauseBefore(deadline time.Time) bool {
	left := time.Until(deadline)
	if left < 4*time.Millisecond {
		return false
	}
	time.Sleep(min(left/8, 50*time.Millisecond))
	return true
}

// attempt makes one request, at a.At, and reads its answer into a; it says whether it may be made again.
func (h *Hook) attempt(t *target, call *schema.Call, id uint64, deadline time.Time, a *schema.Answer) repetition {
	began := a.At
	req := t.builder.build(call, began, id)
	defer req.release()
	resp, err := t.exchange(t.pool, req, a, began, deadline)
	defer func() { t.release(&resp, a.At, a.Reason == schema.ReasonBadAnswer) }()
	redirected := err == nil && h.conf.FollowRedirects > 0 && redirects(resp.status)
	if redirected {
		resp, err = h.follow(t, req, resp, a, deadline)
	}
	a.Destinations, a.Schema, a.Detail = a.Destinations[:0], "", ""
	again := h.read(a, &resp, err, id)
	if redirected && again == ifUnread {
		again = ifIdempotent // read by the webhook that redirected it
	}

	if a.Detail != "" { // it may quote a webhook that echoes what it was sent
		a.Detail = t.builder.hideConstants(a.Detail)
	}
	at := schema.Attempt{URL: t.label, Began: began.Sub(call.At), Took: a.At.Sub(began), Reason: a.Reason, Error: a.Detail}
	if err == nil || errors.Is(err, errRedirect) {
		at.Status = resp.status
	}
	if call.Explain {
		at.Request = t.builder.describe(req.raw)
		if err == nil {
			at.Body = t.builder.hideConstants(excerpt(resp.body, 2048))
		}
	}
	a.Attempts = append(a.Attempts, at)
	return again
}

// read judges the outcome of a request: its error, its status, then its body.
func (h *Hook) read(a *schema.Answer, resp *response, err error, id uint64) repetition {
	if err != nil {
		a.Reason, a.Detail = classify(err)
		return repeatAfter(err)
	}
	switch status := resp.status; {
	case status == fasthttp.StatusNoContent:
		a.Reason, a.Detail = schema.ReasonNoDestination, "status 204: an answer without content"
	case status >= 200 && status < 300:
		h.reader.read(a, resp.body, resp.contentType, resp.contentEncoding, id)
	default:
		a.Reason, a.Detail = schema.ReasonBadStatus, statusDetail(status)
		switch status {
		case 429, 502, 503, 504:
			return ifIdempotent
		}
	}
	return never
}

func statusDetail(status int) string {
	if redirects(status) {
		return fmt.Sprintf("status %d to another place; want 2xx, or set follow_redirects", status)
	}
	return fmt.Sprintf("status %d %s; want 2xx", status, fasthttp.StatusMessage(status))
}

// classify names the failure behind an error of the client, and says it in words.
func classify(err error) (schema.Reason, string) {
	var dial *dialError
	var alert *net.OpError
	switch {
	case errors.As(err, &dial):
		return dial.reason, dial.Error()
	case isTimeout(err):
		return schema.ReasonTimeout, "no complete answer within the request timeout"
	case errors.Is(err, errBodyTooLarge), errors.Is(err, errHeadTooLarge):
		return schema.ReasonBadAnswer, err.Error()
	case errors.Is(err, errNoFreeConns):
		return schema.ReasonOverloaded, err.Error()
	case errors.Is(err, errRedirect):
		return schema.ReasonBadStatus, err.Error()
	case errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error"):
		return schema.ReasonTLSError, err.Error() // crypto/tls's way to tell of an alert
	case closed(err):
		return schema.ReasonConnectError, "the webhook's side closed the connection before its answer was complete"
	}
	return schema.ReasonBadAnswer, "the answer is not HTTP: " + printable(err.Error())
}

// repeatAfter says whether a request that ended with err may be made again.
func repeatAfter(err error) repetition {
	var dial *dialError
	switch {
	case isTimeout(err):
		return never
	case errors.As(err, &dial):
		// A certificate does not mend itself, and a guard does not change its mind.
		if dial.reason == schema.ReasonConnectError || dial.reason == schema.ReasonDNSError || closed(err) {
			return ifUnread
		}
	case closed(err):
		return ifIdempotent
	}
	return never
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// closed tells a connection that the other side ended from an answer that makes no sense.
func closed(err error) bool {
	for _, target := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
