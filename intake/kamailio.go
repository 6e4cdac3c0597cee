package intake

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// kamailioDialect is for Kamailio's http_client and rtjson modules: one line, since
// http_client_query keeps only the first, of numeric timers in milliseconds. parallel has one
// timeout in seconds for the script, since rtjson reads timers only for serial routing.
var kamailioDialect = dialect{
	contentType: "application/json",
	read: func(q *question, ctx *fasthttp.RequestCtx) *fault {
		f := readBody(q, ctx)
		q.keepSIPHeaders()
		return f
	},
	decision: appendKamailio,
	fault:    func(dst []byte, _ *question, f *fault) []byte { return appendFaultJSON(dst, f) },
	status:   httpStatus,
	oneStep:  true,
	aliases: []alias{
		{"fU", schema.ParamCaller}, {"from_user", schema.ParamCaller},
		{"rU", schema.ParamCallee}, {"tU", schema.ParamCallee}, {"to_user", schema.ParamCallee},
		{"ci", schema.ParamCallID}, {"call_id", schema.ParamCallID},
	},
}

// maxKamailio bounds the routes: a body over 8 KiB fails in the script's variable, and what stands
// after them needs at most the rest. Destinations that would lead beyond are left out.
const maxKamailio = 8<<10 - 512

func appendKamailio(dst []byte, _ *question, d *schema.Decision) []byte {
	step := d.FirstDial()
	if step == nil {
		step = &schema.DecidedStep{}
	}
	serial, begin := sequential(step), len(dst)
	dst = append(dst, `{"version":"1.0","routing":"`...)
	if serial {
		dst = append(dst, `serial","routes":[`...)
	} else {
		dst = append(dst, `parallel","routes":[`...)
	}
	for i := range step.Dial {
		before := len(dst)
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendSIPURI(append(dst, `{"uri":"`...), &dialing(d).Kamailio, &step.Dial[i])
		dst = append(dst, '"')
		if serial {
			dst = append(dst, `,"fr_timer":5000,"fr_inv_timer":`...)
			dst = strconv.AppendInt(dst, seconds(step)*1000, 10)
		}
		dst = append(dst, '}')
		if len(dst)-begin > maxKamailio {
			dst = dst[:before]
			break
		}
	}
	dst = append(dst, ']')
	if !serial {
		timeout := int64(0)
		if len(step.Dial) > 0 {
			timeout = seconds(step)
		}
		dst = strconv.AppendInt(append(dst, `,"timeout":`...), timeout, 10)
	}
	dst = append(append(dst, `,"next":"`...), d.Next...) // base64url
	dst = append(append(dst, `","decision_id":"`...), d.ID[:]...)
	dst = append(dst, '"')
	if other := firstOther(d); other != nil && other.Hangup != "" && len(step.Dial) == 0 {
		dst = append(append(dst, `,"hangup":`...), sipStatus[other.Hangup]...)
	}
	return append(dst, '}')
}

// appendSIPURI appends a destination as a strict SIP URI (RFC 3261, section 25.1), in which a "#" in
// the user must be escaped. Nothing else that a checked template or a destination can hold needs it,
// in a URI or in JSON.
func appendSIPURI(dst []byte, t *schema.DialTemplates, d *schema.Destination) []byte {
	var text [maxDialText]byte
	for _, c := range appendDial(text[:0], t, d) {
		if c == '#' {
			dst = append(dst, "%23"...)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}
