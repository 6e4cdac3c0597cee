package intake

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// asteriskDialect is for Asterisk's CURL() with CURLOPT(hashcompat)=yes, which splits the answer on
// "&" and "=" and decodes both sides (funcs/func_curl.c). DESIGN's keys are always there, since
// HASH() keeps an earlier answer's value; a space is %20, since "+" stays a plus. An unbalanced quote
// or bracket in any value swallows the keys after it, so none is written. Asterisk reads no HTTP
// status: every status has a body of this form.
var asteriskDialect = dialect{
	contentType: "text/plain; charset=utf-8",
	read: func(q *question, ctx *fasthttp.RequestCtx) *fault {
		f := readBody(q, ctx)
		q.keepSIPHeaders()
		return f
	},
	decision: appendAsterisk,
	fault:    appendFaultAsterisk,
	status:   httpStatus,
	oneStep:  true,
	aliases: []alias{
		{"CALLERID(num)", schema.ParamCaller}, {"CALLERID(ani)", schema.ParamCaller},
		{"EXTEN", schema.ParamCallee}, {"CALLERID(dnid)", schema.ParamCallee},
		{"CHANNEL(pjsip,call-id)", schema.ParamCallID}, {"UNIQUEID", schema.ParamCallID}, {"LINKEDID", schema.ParamCallID},
	},
}

// What Asterisk takes in one answer: HASH() knows 100 keys (funcs/func_strings.c), and a function's
// value in the dialplan, here all values together, is cut at 4,095 bytes (main/pbx_variables.c). The
// last keys would be lost silently, so destinations that would lead beyond are left out.
const (
	maxAsteriskDials = 40
	maxAsteriskBytes = 2800 // of what is said of destinations; the rest needs at most 1,200
)

// asteriskCause is the Q.850 cause of a hangup step, as Hangup() takes it.
var asteriskCause = map[string]string{
	"busy": "17", "no_answer": "19", "rejected": "21", "unallocated": "1", "congestion": "34", "normal": "16",
}

// appendAsterisk appends what to do first: destinations, ready for Dial() and joined by "&", else a
// box, a file or a cause. Destinations to be rung in order stand in dial_1 to dial_n as well, and
// dial is the first. What comes after is behind next.
func appendAsterisk(dst []byte, _ *question, d *schema.Decision) []byte {
	step := d.FirstDial()
	if step == nil {
		step = &schema.DecidedStep{}
	}
	templates := &dialing(d).Asterisk
	var room [maxAsteriskDials]schema.Destination
	list := asteriskList(room[:0], step.Dial, templates)
	inOrder := sequential(step) && len(list) > 1

	dst = append(dst, "status=ok"...)
	dst = appendPair(dst, "source", d.Source.String())
	dst = appendPair(dst, "reason", d.Reason.String())
	dst = appendAsteriskPlain(dst, list)
	dst = append(dst, "&dial="...)
	for i := range list {
		if i > 0 {
			if inOrder {
				break
			}
			dst = append(dst, "%26"...)
		}
		dst = appendAsteriskDial(dst, templates, &list[i])
	}
	dst = append(dst, "&timeout="...)
	if len(list) > 0 {
		dst = strconv.AppendInt(dst, seconds(step), 10)
	}
	dst = appendPair(dst, "schema", d.Schema)
	dst = appendPair(dst, "next", d.Next)
	dst = appendPair(dst, "decision_id", string(d.ID[:]))
	if inOrder {
		dst = append(dst, "&strategy=in_order"...)
		for i := range list {
			dst = strconv.AppendInt(append(dst, "&dial_"...), int64(i+1), 10)
			dst = appendAsteriskDial(append(dst, '='), templates, &list[i])
		}
	}
	if other := firstOther(d); other != nil && len(step.Dial) == 0 {
		dst = appendPair(dst, "hangup", asteriskCause[other.Hangup])
		dst = appendPair(dst, "voicemail", other.Voicemail)
		dst = appendPair(dst, "playback", other.Playback)
	}
	return dst
}

// asteriskList appends to kept, as far as its capacity goes, the destinations that Asterisk can be
// told of. The brackets of an IPv6 address are not safe in a HASH().
func asteriskList(kept, all []schema.Destination, t *schema.DialTemplates) []schema.Destination {
	var text [maxDialText]byte
	size := 0
	for i := range all {
		d := &all[i]
		if d.Kind == schema.KindSIP && d.Host[0] == '[' {
			continue
		}
		// It stands in dst, in its own dst_n, and in dial or dial_n, with a separator each.
		size += 2*len(d.AppendText(text[:0])) + len(appendDial(text[:0], t, d)) + 4
		if size > maxAsteriskBytes || len(kept) == cap(kept) {
			break
		}
		kept = append(kept, *d)
	}
	return kept
}

// appendAsteriskPlain appends count, dst and dst_1 to dst_n: the destinations as they are.
func appendAsteriskPlain(dst []byte, list []schema.Destination) []byte {
	var text [schema.MaxDestinationLength]byte
	dst = strconv.AppendInt(append(dst, "&count="...), int64(len(list)), 10)
	dst = append(dst, "&dst="...)
	for i := range list {
		if i > 0 {
			dst = append(dst, "%2C"...)
		}
		dst = appendEscaped(dst, list[i].AppendText(text[:0]))
	}
	for i := range list {
		dst = append(strconv.AppendInt(append(dst, "&dst_"...), int64(i+1), 10), '=')
		dst = appendEscaped(dst, list[i].AppendText(text[:0]))
	}
	return dst
}

func appendAsteriskDial(dst []byte, t *schema.DialTemplates, d *schema.Destination) []byte {
	var text [maxDialText]byte
	return appendEscaped(dst, appendDial(text[:0], t, d))
}

// appendFaultAsterisk appends the same keys, empty, and what was wrong; the free text stands last.
func appendFaultAsterisk(dst []byte, _ *question, f *fault) []byte {
	dst = append(dst, "status=error"...)
	dst = appendPair(dst, "code", f.code.String())
	dst = append(dst, "&source=&reason=&count=0&dst=&dial=&timeout=&schema=&next=&decision_id="...)
	dst = appendPair(dst, "field", f.field)
	return appendPair(dst, "message", f.message)
}

// appendPair appends "&name=value" for free text, of which the characters that Asterisk would take
// for its own are replaced by a space.
func appendPair(dst []byte, name, value string) []byte {
	dst = append(append(append(dst, '&'), name...), '=')
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case ',', '"', '(', ')', '[', ']', '\\', '$', '{', '}', '\'', ';':
			dst = append(dst, "%20"...)
		default:
			if c < ' ' || c == 0x7f {
				c = ' '
			}
			dst = appendEscapedByte(dst, c)
		}
	}
	return dst
}

// appendEscaped escapes all but RFC 3986's unreserved characters.
func appendEscaped(dst, text []byte) []byte {
	for _, c := range text {
		dst = appendEscapedByte(dst, c)
	}
	return dst
}

func appendEscapedByte(dst []byte, c byte) []byte {
	const hex = "0123456789ABCDEF"
	switch {
	case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '-', c == '.', c == '_', c == '~':
		return append(dst, c)
	}
	return append(dst, '%', hex[c>>4], hex[c&15])
}
