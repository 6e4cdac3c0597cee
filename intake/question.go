package intake

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// question is one lookup while it is answered: what was asked, how, and the memory to answer with.
// It is reused.
type question struct {
	call     schema.Call
	decision schema.Decision
	asked
	// body is the request's; scratch holds decoded names and values on their way into call, out the answer.
	body, scratch, out []byte
}

// asked is what a question says besides the call.
type asked struct {
	format format
	// stated: the asker named the format. fixed: by path or envelope, which no parameter overrides.
	stated, fixed bool
	// budget is the PBX's own patience; 0 where it states none.
	budget time.Duration
	rpc    envelope
	// over: the destinations were answered, or the caller is gone, so there is nothing to decide.
	over bool
	// event: a call event is told, and nothing asked. cdr: FreeSWITCH tells it.
	event, cdr bool
	// publicURL is the setting of that name.
	publicURL string
	// dropped are what was left out, in words; beyond is how many parameters more than a call may have were, and
	// firstBeyond the name of the first.
	dropped     []string
	beyond      int
	firstBeyond string
}

// What a question may hold. Beyond these a parameter is left out, or the question refused where it is decisive.
const (
	maxName   = 128 // bytes of a parameter's name
	maxValue  = 4 << 10
	maxCallee = 64 // characters
)

func (q *question) reset() {
	q.call.Reset()
	q.decision.Reset()
	q.asked, q.body, q.scratch, q.out = asked{}, small(q.body), small(q.scratch), small(q.out)
}

// small empties a buffer for reuse, unless one unusual request made it large.
func small(b []byte) []byte {
	if cap(b) > 64<<10 {
		return nil
	}
	return b[:0]
}

// readURL reads what stands outside the body: path, Accept and traceparent headers, query.
func (q *question) readURL(ctx *fasthttp.RequestCtx, pathFormat, query []byte) *fault {
	accepted, ok := formatAccepted(ctx.Request.Header.Peek("Accept"))
	if q.format = accepted; !ok {
		q.format = formatOfAgent(ctx.Request.Header.UserAgent())
	}
	if pathFormat != nil {
		var f *fault
		if q.format, f = formatNamed(pathFormat); f != nil {
			return f
		}
		q.stated, q.fixed = true, true
	}
	if t := ctx.Request.Header.Peek("traceparent"); validTraceparent(t) {
		q.call.Traceparent = q.call.Keep(t)
	}
	return q.readForm(query)
}

// readForm reads application/x-www-form-urlencoded text. A "%" that begins no escape stands for
// itself, since a dialplan's author who forgot to escape one still wants the call routed.
func (q *question) readForm(text []byte) *fault {
	for len(text) > 0 {
		var pair []byte
		pair, text, _ = bytes.Cut(text, []byte("&"))
		name, value, _ := bytes.Cut(pair, []byte("="))
		q.scratch = q.scratch[:0]
		if f := q.set(q.unescaped(name), q.unescaped(value)); f != nil {
			return f
		}
	}
	return nil
}

// unescaped undoes a form's escaping. The result lives until scratch is emptied.
func (q *question) unescaped(b []byte) []byte {
	if bytes.IndexByte(b, '%') < 0 && bytes.IndexByte(b, '+') < 0 {
		return b
	}
	start := len(q.scratch)
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '+':
			q.scratch = append(q.scratch, ' ')
		case c == '%' && i+2 < len(b) && isHex(b[i+1]) && isHex(b[i+2]):
			q.scratch = append(q.scratch, unhex(b[i+1])<<4|unhex(b[i+2]))
			i += 2
		default:
			q.scratch = append(q.scratch, c)
		}
	}
	return q.scratch[start:]
}

// set takes one parameter, as text. The last value of a name counts. Of a control parameter too
// late to matter, a format after the path has named one, only the name is read.
func (q *question) set(name, value []byte) *fault {
	if q.format == formatFreeSWITCH && q.setFreeSWITCH(name, value) {
		return nil
	}
	switch {
	case len(name) == 0:
		return nil
	case len(value) > maxValue && decisive(name):
		return badField(string(name), "a value of "+strconv.Itoa(len(value))+" bytes; want at most "+strconv.Itoa(maxValue))
	case q.tooLong(name, value):
		return nil
	}
	switch string(name) {
	case "project":
		q.call.Project = q.call.Keep(value)
	case "hook":
		q.call.Hook = q.call.Keep(value)
	case "schema":
		q.call.Schema = q.call.Keep(value)
	case "cursor":
		q.call.Cursor = q.call.Keep(value)
	case "format":
		return q.setFormat(value)
	case "budget_ms":
		return q.setBudget(value)
	case "explain":
		// The story of a decision names webhooks' addresses; it is told on the command line only.
	default:
		q.setNamed(name, value)
	}
	return nil
}

// setNamed gives the call a parameter, unless it is one too many that nobody here reads.
func (q *question) setNamed(name, value []byte) {
	switch {
	case q.call.SetNamed(name, value):
	case needed(name):
		q.call.SetNeeded(name, value)
	default:
		if q.beyond++; q.beyond == 1 {
			q.firstBeyond = q.call.Keep(name)
		}
	}
}

// needed reports whether a dialect, or an event, reads a parameter of this name outside the catalogue, so that
// no number of others may push it out. It doesn't ask which dialect, since that may be named last.
func needed(name []byte) bool {
	switch string(name) {
	case "CALLERID(num)", "CALLERID(ani)", "EXTEN", "CALLERID(dnid)", "CHANNEL(pjsip,call-id)", "UNIQUEID", "LINKEDID", // Asterisk
		"section", "variable_hookswitch_cursor", "variable_hookswitch_project", "Hunt-Context", "Caller-Context", // FreeSWITCH
		"Hunt-Caller-ID-Number", "Caller-Caller-ID-Number", "Hunt-ANI", "Caller-ANI",
		"Hunt-Destination-Number", "Caller-Destination-Number",
		"Hunt-Unique-ID", "Caller-Unique-ID", "Unique-ID", "Channel-Call-UUID",
		"fU", "from_user", "rU", "tU", "to_user", "ci", // Kamailio
		"call_id", "from", "to", "uri", // and RustPBX
		"CallSid", "From", "Caller", "To", "Called", "DialCallStatus", "CallStatus", "RecordingUrl", // TwiML
		"call_sid", "callSid", "dial_call_status", "call_status", // jambonz
		"diversion", "history_info", "p_asserted_identity",
		"event", "direction":
		return true
	}
	return sipHeaderParam(string(name)) != ""
}

// decisive reports whether a call cannot be decided on without the parameter. The others, a page's address
// for example, are worth no call.
func decisive(name []byte) bool {
	switch string(name) {
	case "callee", "caller", "callid", "project", "hook", "schema", "cursor", "format", "budget_ms":
		return true
	}
	return false
}

// tooLong reports whether a parameter is longer than one may be. It is to be left out then, and an answer in
// JSON says so: the names as well as the values can be those of an INVITE that a stranger's phone wrote.
func (q *question) tooLong(name, value []byte) bool {
	switch {
	case len(name) > maxName:
		q.drop("%s left out: a name of %d bytes; want at most %d", cutName(string(name)), len(name), maxName)
	case len(value) > maxValue:
		q.drop("%s left out: %d bytes; want at most %d", string(name), len(value), maxValue)
	default:
		return false
	}
	return true
}

// cutName is the beginning of a name that is longer than maxName.
func cutName(name string) string {
	n := maxName
	for n > 0 && !utf8.RuneStart(name[n]) {
		n--
	}
	return name[:n] + "…"
}

// drop has the answer say what was left out.
func (q *question) drop(format string, args ...any) {
	if len(q.dropped) < maxDropped {
		q.dropped = append(q.dropped, fmt.Sprintf(format, args...))
	}
}

// maxDropped bounds what an answer says of parameters that were left out.
const maxDropped = 5

// tellBeyond has the answer say how many parameters more than a call may have were left out.
func (q *question) tellBeyond() {
	switch {
	case q.beyond == 1:
		q.dropped = append(q.dropped, fmt.Sprintf("%s left out: want at most %d custom parameters", q.firstBeyond, schema.MaxCustom))
	case q.beyond > 1:
		q.dropped = append(q.dropped, fmt.Sprintf("%s and %d more left out: want at most %d custom parameters", q.firstBeyond, q.beyond-1, schema.MaxCustom))
	}
}

func (q *question) setFormat(name []byte) (f *fault) {
	if q.fixed || len(name) == 0 {
		return nil
	}
	q.stated = true
	q.format, f = formatNamed(name)
	return f
}

func (q *question) setBudget(text []byte) *fault {
	ms := 0
	for _, c := range text {
		if c < '0' || c > '9' || len(text) > 9 {
			ms = 0
			break
		}
		ms = ms*10 + int(c-'0')
	}
	if ms == 0 {
		return badField("budget_ms", "want a whole number of milliseconds, 1 or more")
	}
	q.budget = time.Duration(ms) * time.Millisecond
	return nil
}

// patience is how long a decision may take: the installation's budget, or the PBX's own less a
// margin for the way there and back, whichever is shorter.
func patience(budget, asked time.Duration) time.Duration {
	if asked == 0 {
		return budget
	}
	return min(budget, asked-min(20*time.Millisecond, asked/10))
}

// check refuses what no call can be decided on, and has the answer tell of what is too much.
func (q *question) check() *fault {
	q.tellBeyond()
	callee := q.call.Callee()
	switch {
	case q.format == formatJSONRPC && q.rpc.id == nil:
		return invalidRequest("want a POST with a JSON-RPC request as its body")
	case callee == "" && q.call.Hook == "" && q.call.Schema == "":
		return badField("callee", "missing; want the number that was called, or a hook or schema to use in its place")
	case !printable(callee):
		return badField("callee", "not printable text; want the number that was called")
	case utf8.RuneCountInString(callee) > maxCallee:
		return badField("callee", "longer than "+strconv.Itoa(maxCallee)+" characters; want the number that was called")
	case hasControl(q.call.Caller()):
		return badField("caller", "holds a control character; want the number or name that calls")
	}
	return nil
}

func printable(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			return false
		}
		i += n
	}
	return true
}

func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// validTraceparent reports whether t is a W3C Trace Context version 00 header: version, trace id,
// parent id, flags; lower-case hex; neither id all zeros.
func validTraceparent(t []byte) bool {
	if len(t) != 55 || t[0] != '0' || t[1] != '0' || t[2] != '-' || t[35] != '-' || t[52] != '-' {
		return false
	}
	trace, parent, flags := t[3:35], t[36:52], t[53:]
	return lowerHex(trace) && lowerHex(parent) && lowerHex(flags) && !allZero(trace) && !allZero(parent)
}

func lowerHex(b []byte) bool {
	for _, c := range b {
		if !isHex(c) || c >= 'A' && c <= 'F' {
			return false
		}
	}
	return true
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != '0' {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
