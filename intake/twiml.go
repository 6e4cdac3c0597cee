package intake

import (
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// twimlDialect is for Twilio's Voice webhooks and the clouds that speak them
// (https://www.twilio.com/docs/voice/twiml): a form in, TwiML out. After a <Dial>, Twilio asks its
// action URL, which leads back here with the cursor. A fault keeps its HTTP status, at which Twilio
// turns to the number's fallback URL.
var twimlDialect = dialect{
	contentType: "text/xml; charset=utf-8",
	read:        readTwiML,
	decision:    appendTwiML,
	fault: func(dst []byte, _ *question, f *fault) []byte {
		dst = append(append(dst, twimlOpen...), "<!-- "...)
		dst = append(append(dst, f.code.String()...), " -->"...)
		return append(dst, "<Reject/></Response>"...)
	},
	status:  httpStatus,
	oneStep: true,
	aliases: []alias{{"CallSid", schema.ParamCallID}},
	signed:  twilioSigned,
}

const (
	twimlOpen = `<?xml version="1.0" encoding="UTF-8"?><Response>`
	twimlPath = "/v1/route/twiml"
	maxNouns  = 10  // that one <Dial> may hold
	maxRing   = 600 // seconds that one <Dial> may ring
)

// readTwiML reads the question. It is over where the destinations were answered
// (DialCallStatus, https://www.twilio.com/docs/voice/twiml/dial#dialcallstatus), a message has been
// recorded and nothing comes after it, or the caller is gone.
func readTwiML(q *question, ctx *fasthttp.RequestCtx) *fault {
	if f := readBody(q, ctx); f != nil {
		return f
	}
	q.adoptAddress(schema.ParamCallee, "To", "Called")
	q.adoptAddress(schema.ParamCaller, "From", "Caller")
	dialled, _ := q.call.CustomValue("DialCallStatus")
	status, _ := q.call.CustomValue("CallStatus")
	_, recorded := q.call.CustomValue("RecordingUrl")
	q.over = dialled == "completed" || dialled == "answered" || recorded && q.call.Cursor == ""
	switch status {
	case "completed", "busy", "failed", "no-answer", "canceled":
		q.over = true
	}
	return nil
}

// appendTwiML appends the steps up to the first <Dial>: after that the caller may have had their
// talk, so what follows is asked for at its action URL.
func appendTwiML(dst []byte, q *question, d *schema.Decision) []byte {
	dst = append(dst, twimlOpen...)
	if q.over {
		return append(dst, "</Response>"...)
	}
	dst = append(append(dst, "<!-- "...), d.ID[:]...)
	dst = append(append(append(dst, ' '), d.Source.String()...), ' ')
	dst = append(append(dst, d.Reason.String()...), " -->"...)
	empty := len(dst)
	for i := range d.Steps {
		switch step := &d.Steps[i]; {
		case len(step.Dial) > 0:
			return append(appendTwiMLDial(dst, q, d, step), "</Response>"...)
		case step.Voicemail != "":
			// Without an action, <Record> comes back to this document's URL, and records again.
			dst = append(dst, `<Record playBeep="true" action="`...)
			dst = append(appendNextURL(dst, q, twimlPath, d.Next, "&amp;"), `"/></Response>`...)
			return dst
		case isHTTP(step.Playback):
			dst = append(appendXML(append(dst, "<Play>"...), step.Playback), "</Play>"...)
		case step.Hangup != "":
			return append(appendTwiMLHangup(dst, q, step.Hangup, len(dst) > empty), "</Response>"...)
		}
	}
	switch {
	case d.Next != "":
		dst = appendNextURL(append(dst, "<Redirect>"...), q, twimlPath, d.Next, "&amp;")
		dst = append(dst, "</Redirect>"...)
	case len(d.Steps) == 0:
		dst = append(dst, "<Reject/>"...)
	case len(dst) == empty: // a file that only a PBX has
		dst = append(dst, "<Hangup/>"...)
	}
	return append(dst, "</Response>"...)
}

// twimlWords is how TwiML writes a destination. A login is a client of Twilio's own.
var twimlWords = schema.DialTemplates{Number: "+{{number}}", SIP: "sip:{{user}}@{{host}}", Login: "{{login}}"}

func appendTwiMLDial(dst []byte, q *question, d *schema.Decision, step *schema.DecidedStep) []byte {
	// answerOnBridge: the caller hears ringing, and pays, only when somebody answers.
	dst = append(dst, `<Dial answerOnBridge="true" timeout="`...)
	dst = strconv.AppendInt(dst, min(seconds(step), maxRing), 10)
	if sequential(step) {
		dst = append(dst, `" sequential="true`...)
	}
	if d.Next != "" {
		dst = appendNextURL(append(dst, `" method="POST" action="`...), q, twimlPath, d.Next, "&amp;")
	}
	dst = append(dst, `">`...)
	for i := range min(len(step.Dial), maxNouns) {
		noun := [...]string{schema.KindNumber: "Number>", schema.KindSIP: "Sip>", schema.KindLogin: "Client>"}[step.Dial[i].Kind]
		dst = append(append(dst, '<'), noun...)
		dst = appendSIPURI(dst, &twimlWords, &step.Dial[i]) // holds nothing that XML escapes
		dst = append(append(dst, "</"...), noun...)
	}
	return append(dst, "</Dial>"...)
}

// appendTwiMLHangup appends <Reject> for a call that Twilio has not answered yet, since that alone
// keeps it from doing so (https://www.twilio.com/docs/voice/twiml/reject), and <Hangup> for one that
// it has, or whose document has begun with another verb.
func appendTwiMLHangup(dst []byte, q *question, cause string, begun bool) []byte {
	status, _ := q.call.CustomValue("CallStatus")
	switch {
	case begun || q.call.Cursor != "" || status == "in-progress" || cause == "normal":
		return append(dst, "<Hangup/>"...)
	case cause == "busy" || cause == "congestion":
		return append(dst, `<Reject reason="busy"/>`...)
	}
	return append(dst, "<Reject/>"...)
}

// appendNextURL appends where a cloud goes on: path, below the public URL where there is one, with
// the cursor, and with the callee and project, so that the same call is meant whatever the
// cloud's own parameters say by then. Only our own bytes are not escaped; ampersand is how one is
// written where the URL stands.
func appendNextURL(dst []byte, q *question, path, next, ampersand string) []byte {
	dst = append(append(dst, q.publicURL...), path...)
	dst = appendEscapedText(append(dst, "?cursor="...), next)
	dst = appendEscapedText(append(append(dst, ampersand...), "callee="...), q.call.Callee())
	if q.call.Project != "" {
		dst = appendEscapedText(append(append(dst, ampersand...), "project="...), q.call.Project)
	}
	return dst
}

func appendEscapedText(dst []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		dst = appendEscapedByte(dst, text[i])
	}
	return dst
}

// isHTTP reports whether a playback is something that a cloud can fetch.
func isHTTP(text string) bool {
	return strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
}
