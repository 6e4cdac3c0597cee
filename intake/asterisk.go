package intake

import (
	"strconv"

	"hookswitch/schema"
)

// asteriskDialect is for Asterisk's CURL() with CURLOPT(hashcompat)=yes, which splits the answer on
// "&" and "=" and decodes both sides (funcs/func_curl.c). Every key is always there, since HASH()
// keeps an earlier answer's value; a space is %20, since "+" stays a plus. An unbalanced quote or
// bracket in any value swallows the keys after it, so none is written. Asterisk reads no HTTP
// status: every status has a body of this form.
var asteriskDialect = dialect{
	contentType: "text/plain; charset=utf-8",
	read:        readBody,
	decision:    appendAsterisk,
	fault:       appendFaultAsterisk,
	status:      httpStatus,
	oneStep:     true,
	aliases: []alias{
		{"CALLERID(num)", schema.ParamCaller}, {"CALLERID(ani)", schema.ParamCaller},
		{"EXTEN", schema.ParamCallee}, {"CALLERID(dnid)", schema.ParamCallee},
		{"CHANNEL(pjsip,call-id)", schema.ParamCallID}, {"UNIQUEID", schema.ParamCallID}, {"LINKEDID", schema.ParamCallID},
	},
}

// appendAsterisk appends what to do first: destinations, ready for Dial() and joined by "&", else a
// box, a file or a cause. Destinations to be rung in order stand in dial_1 to dial_n as well, and
// dial is the first. What comes after is behind next.
func appendAsterisk(dst []byte, _ *question, d *schema.Decision) []byte {
	step := d.FirstDial()
	if step == nil {
		step = &schema.DecidedStep{}
	}
	list, templates := step.Dial, &dialing(d).Asterisk
	dst = append(dst, "status=ok"...)
	dst = appendPair(dst, "source", d.Source.String())
	dst = appendPair(dst, "reason", d.Reason.String())
	dst = appendAsteriskPlain(dst, list)
	dst = append(dst, "&dial="...)
	for i, first := 0, true; i < len(list); i++ {
		if !asteriskCan(&list[i]) || !first && sequential(step) {
			continue
		}
		if !first {
			dst = append(dst, "%26"...)
		}
		dst, first = appendAsteriskDial(dst, templates, &list[i]), false
	}
	dst = append(dst, "&timeout="...)
	if len(list) > 0 {
		dst = strconv.AppendInt(dst, seconds(step), 10)
	}
	dst = appendPair(dst, "schema", d.Schema)
	dst = appendPair(dst, "next", d.Next)
	dst = appendPair(dst, "decision_id", string(d.ID[:]))
	if sequential(step) {
		dst = append(dst, "&strategy=in_order"...)
		for i, n := 0, 0; i < len(list); i++ {
			if asteriskCan(&list[i]) {
				n++
				dst = strconv.AppendInt(append(dst, "&dial_"...), int64(n), 10)
				dst = appendAsteriskDial(append(dst, '='), templates, &list[i])
			}
		}
	}
	if other := firstOther(d); other != nil && len(list) == 0 {
		dst = appendPair(dst, "voicemail", other.Voicemail)
		dst = appendPair(dst, "playback", other.Playback)
		dst = appendPair(dst, "hangup", other.Hangup)
	}
	return dst
}

// appendAsteriskPlain appends count, dst and dst_1 to dst_n: the destinations as they are.
func appendAsteriskPlain(dst []byte, list []schema.Destination) []byte {
	count := 0
	for i := range list {
		if asteriskCan(&list[i]) {
			count++
		}
	}
	dst = strconv.AppendInt(append(dst, "&count="...), int64(count), 10)
	var text [schema.MaxDestinationLength]byte
	dst = append(dst, "&dst="...)
	for i, first := 0, true; i < len(list); i++ {
		if !asteriskCan(&list[i]) {
			continue
		}
		if !first {
			dst = append(dst, "%2C"...)
		}
		dst, first = appendEscaped(dst, list[i].AppendText(text[:0])), false
	}
	for i, n := 0, 0; i < len(list); i++ {
		if asteriskCan(&list[i]) {
			n++
			dst = append(strconv.AppendInt(append(dst, "&dst_"...), int64(n), 10), '=')
			dst = appendEscaped(dst, list[i].AppendText(text[:0]))
		}
	}
	return dst
}

// asteriskCan reports whether Asterisk can be told of the destination: the brackets of an IPv6
// address are not safe in a HASH().
func asteriskCan(d *schema.Destination) bool {
	return d.Kind != schema.KindSIP || d.Host[0] != '['
}

func appendAsteriskDial(dst []byte, t *schema.DialTemplates, d *schema.Destination) []byte {
	var text [512]byte
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
