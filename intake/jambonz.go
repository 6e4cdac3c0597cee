package intake

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// jambonzDialect is for jambonz' application webhooks: a JSON question
// (https://docs.jambonz.org/reference/webhooks/call-hook-post), an array of verbs in answer
// (https://docs.jambonz.org/verbs/verbs/dial). After a dial, its actionHook leads back here with the
// cursor. A fault keeps its HTTP status: jambonz then declines the call with 480 and alerts its
// operator.
var jambonzDialect = dialect{
	contentType: "application/json",
	read:        readJambonz,
	decision:    appendJambonz,
	fault: func(dst []byte, _ *question, f *fault) []byte {
		dst = append(dst, `[{"verb":"sip:decline","status":`...)
		dst = append(dst, jambonzStatus(f.code)...)
		dst = appendQuoted(append(dst, `,"reason":`...), f.code.String())
		return append(dst, "}]"...)
	},
	status:  httpStatus,
	oneStep: true,
	aliases: []alias{{"call_sid", schema.ParamCallID}, {"callSid", schema.ParamCallID}},
	signed:  jambonzSigned,
}

const jambonzPath = "/v1/route/jambonz"

// jambonzStatus is the SIP status of a fault, for whoever executes its body.
func jambonzStatus(c code) string {
	if c == codeUnknownNumber {
		return "404"
	}
	return "480"
}

// readJambonz reads the question. It is over where a dial has ended for good: it was answered, the
// caller is gone, or it was one of a list that goes on by itself.
func readJambonz(q *question, ctx *fasthttp.RequestCtx) *fault {
	if f := readSIPBody(q, ctx); f != nil {
		return f
	}
	q.adoptAddress(schema.ParamCallee, "to")
	q.adoptCaller("from")
	dialled, _ := q.call.CustomValue("dial_call_status")
	q.over = dialled == "completed" || dialled != "" && q.call.Cursor == ""
	switch status, _ := q.call.CustomValue("call_status"); status {
	case "completed", "failed", "busy", "no-answer":
		q.over = true
	}
	return nil
}

// appendJambonz appends the verbs of the steps up to the first that dials.
func appendJambonz(dst []byte, q *question, d *schema.Decision) []byte {
	if q.over {
		if dialled, _ := q.call.CustomValue("dial_call_status"); dialled == "completed" {
			return append(dst, `[{"verb":"hangup"}]`...) // else the next of a list would ring after the talk
		}
		return append(dst, "[]"...)
	}
	dst = append(dst, '[')
	for i := range d.Steps {
		switch step := &d.Steps[i]; {
		case len(step.Dial) > 0:
			return append(appendJambonzDials(dst, q, d, step), ']')
		case isHTTP(step.Playback):
			dst = appendQuoted(append(dst, `{"verb":"play","url":`...), step.Playback)
			dst = append(dst, "},"...)
		case step.Hangup != "":
			return append(appendJambonzHangup(dst, q, step.Hangup, len(dst) > 1), ']')
		}
	}
	switch {
	case d.Next != "":
		dst = appendNextURL(append(dst, `{"verb":"redirect","actionHook":"`...), q, jambonzPath, d.Next, "&")
		dst = append(dst, `"}`...)
	default: // the end, or voicemail, or a file that only a PBX has
		dst = appendJambonzHangup(dst, q, "no_answer", len(dst) > 1)
	}
	return append(dst, ']')
}

// jambonzWords is how jambonz writes a destination. A login is a user of the account's own realm.
var jambonzWords = schema.DialTemplates{Number: "+{{number}}", SIP: "sip:{{user}}@{{host}}", Login: "{{login}}"}

// appendJambonzDials appends one dial for destinations that ring together, and for others one each:
// jambonz has no other way of ringing in order. Its verbs run one after the other whether a dial was
// answered or not, but what an actionHook answers replaces those that are left: see appendJambonz.
func appendJambonzDials(dst []byte, q *question, d *schema.Decision, step *schema.DecidedStep) []byte {
	list, size := step.Dial[:min(len(step.Dial), maxNouns)], maxNouns
	if sequential(step) {
		size = 1
	}
	for i := 0; i < len(list); i += size {
		if i > 0 {
			dst = append(dst, ',')
		}
		// answerOnBridge: the caller's leg is answered only when somebody answers.
		dst = append(dst, `{"verb":"dial","answerOnBridge":true,"timeout":`...)
		dst = strconv.AppendInt(dst, seconds(step), 10)
		switch last := i+size >= len(list); {
		case !last:
			dst = append(appendNextURL(append(dst, `,"actionHook":"`...), q, jambonzPath, "", "&"), '"')
		case d.Next != "":
			dst = append(appendNextURL(append(dst, `,"actionHook":"`...), q, jambonzPath, d.Next, "&"), '"')
		}
		dst = append(dst, `,"target":[`...)
		for j := i; j < min(i+size, len(list)); j++ {
			if j > i {
				dst = append(dst, ',')
			}
			dst = append(dst, [...]string{
				schema.KindNumber: `{"type":"phone","number":"`, schema.KindSIP: `{"type":"sip","sipUri":"`, schema.KindLogin: `{"type":"user","name":"`,
			}[list[j].Kind]...)
			dst = append(appendSIPURI(dst, &jambonzWords, &list[j]), `"}`...)
		}
		dst = append(dst, "]}"...)
	}
	return dst
}

// appendJambonzHangup appends sip:decline for a call that is not answered yet, and hangup for one
// that is, if only by what is played before: neither verb works in the other's place.
func appendJambonzHangup(dst []byte, q *question, cause string, played bool) []byte {
	if status, _ := q.call.CustomValue("call_status"); played || status == "in-progress" {
		return append(dst, `{"verb":"hangup"}`...)
	}
	dst = append(append(dst, `{"verb":"sip:decline","status":`...), sipStatus[cause]...)
	return append(dst, '}')
}
