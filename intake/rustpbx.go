package intake

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// rustpbxDialect is for RustPBX's HTTP Router, which asks about every INVITE
// (docs/api_integration_guide.md, 1.1, and docs/config/04-routing.md of restsend/rustpbx). It asks
// once a call: what can come after the first destinations has to be in the one answer, so there is
// no cursor, and oneStep is off.
var rustpbxDialect = dialect{
	contentType: "application/json",
	read:        readRustPBX,
	decision:    appendRustPBX,
	fault:       appendFaultRustPBX,
	status:      rustpbxStatus,
	aliases:     []alias{{"call_id", schema.ParamCallID}},
}

// readRustPBX takes the callee from To, as RustPBX's own router does, and from the request URI where
// To names nobody.
func readRustPBX(q *question, ctx *fasthttp.RequestCtx) *fault {
	if f := readSIPBody(q, ctx); f != nil {
		return f
	}
	q.adoptAddress(schema.ParamCallee, "to", "uri")
	q.adoptCaller("from")
	return nil
}

// appendRustPBX appends "forward" to SIP URIs, or "reject" with the status of a hangup. For
// voicemail and playback it has no word: not_handled leaves the call to RustPBX's own routes.
//
// The ring time goes into max_ring_time. The guide's timeout is not sent: RustPBX ends the
// conversation after it (HttpResponsePayload in src/proxy/routing/http.rs).
func appendRustPBX(dst []byte, _ *question, d *schema.Decision) []byte {
	dst = append(dst, `{"action":"`...)
	other := firstOther(d)
	switch first := d.FirstDial(); {
	case first != nil:
		dst = appendRustPBXForward(dst, d)
	case other != nil && other.Hangup != "":
		dst = append(append(dst, `reject","status":`...), sipStatus[other.Hangup]...)
		dst = append(append(append(dst, `,"reason":"`...), other.Hangup...), '"')
	default:
		dst = append(dst, `not_handled"`...)
	}
	dst = append(append(dst, `,"extensions":{"decision_id":"`...), d.ID[:]...) // kept with the call record
	return append(dst, `"}}`...)
}

// appendRustPBXForward appends the destinations of the first dial step. Where it rings one at a time,
// those of the dial steps that follow and do so too come after them, as one list.
func appendRustPBXForward(dst []byte, d *schema.Decision) []byte {
	dst = append(dst, `forward","targets":[`...)
	ring, parallel, n := int64(0), false, 0
	for i := range d.Steps {
		step := &d.Steps[i]
		together := len(step.Dial) > 1 && !sequential(step)
		if len(step.Dial) == 0 && n == 0 {
			continue // a playback before
		}
		if len(step.Dial) == 0 || together && n > 0 {
			break
		}
		for j := range step.Dial {
			if n > 0 {
				dst = append(dst, ',')
			}
			dst = appendSIPURI(append(dst, '"'), &dialing(d).RustPBX, &step.Dial[j])
			dst = append(dst, '"')
			n++
		}
		if together {
			ring, parallel = seconds(step), true
			break
		}
		ring += int64(len(step.Dial)) * seconds(step) // it bounds the whole list
	}
	if parallel {
		dst = append(dst, `],"strategy":"parallel","max_ring_time":`...)
	} else {
		dst = append(dst, `],"strategy":"sequential","max_ring_time":`...)
	}
	return strconv.AppendInt(dst, ring, 10)
}

func appendFaultRustPBX(dst []byte, _ *question, f *fault) []byte {
	reason := f.code.String() + ": " + f.message
	if f.field != "" {
		reason = f.code.String() + ": " + f.field + ": " + f.message
	}
	return append(appendQuoted(append(dst, `{"action":"not_handled","reason":`...), reason), '}')
}

// rustpbxStatus is 200 where RustPBX is to read not_handled: under any other status it answers the
// caller 503, unless its fallback_to_static is set. A closed door says so, since only the operator
// can open it.
func rustpbxStatus(f *fault) int {
	if f.code == codeUnauthorized || f.code == codeForbidden {
		return httpStatus(f)
	}
	return fasthttp.StatusOK
}
