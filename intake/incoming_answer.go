package intake

import (
	"strings"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// answerLink writes a link's answer: its response, filled in, or the decision as JSON where it made
// one, or {"success":true} with the names that were passed over.
func (q *question) answerLink(ctx *fasthttp.RequestCtx, l *link, v *linkValues) {
	q.out = q.out[:0]
	ctx.SetContentType("application/json")
	switch {
	case l.response != nil:
		q.tellDecision(l)
		q.out = l.response.Append(q.out, &q.call, l.escape)
		ctx.SetContentType(l.conf.ResponseType)
	case l.route != nil:
		q.out = append(appendDecisionJSON(q.out, &q.decision), '\n')
	default:
		q.out = append(q.out, `{"success":true`...)
		for i, name := range v.ignored {
			q.out = append(q.out, [...]string{`,"ignored":[`, `,`}[min(i, 1)]...)
			q.out = appendQuoted(q.out, name)
		}
		if len(v.ignored) > 0 {
			q.out = append(q.out, ']')
		}
		q.out = append(q.out, "}\n"...)
	}
	ctx.SetBody(q.out)
}

// tellDecision puts the decision, if there is one, among the call's values, for the response's tags:
// the call is over.
func (q *question) tellDecision(l *link) {
	if l.route == nil {
		return
	}
	d := &q.decision
	q.call.SetString(schema.ParamSource, d.Source.String())
	q.scratch = appendFirstDial(q.scratch[:0], d)
	q.call.SetNamed([]byte("dst_phone"), q.scratch)
	q.call.SetNamed([]byte("reason"), []byte(d.Reason.String()))
	q.call.SetNamed([]byte("schema"), []byte(d.Schema))
	q.call.SetNamed([]byte("decision_id"), d.ID[:])
}

// escaper returns how a value is written within a response of the type, so that it can't leave its
// place: nil for plain text, where there is nothing to leave. What is no type of these is taken for
// something like JSON, in whose strings the tags stand.
func escaper(contentType string) func([]byte, string) []byte {
	media := strings.ToLower(string(mediaType([]byte(contentType))))
	switch {
	case media == "text/plain":
		return nil
	case media == "application/x-www-form-urlencoded":
		return appendEscapedText
	case media == "text/html", strings.HasSuffix(media, "/xml"), strings.HasSuffix(media, "+xml"):
		return appendMarkup
	}
	return appendInString
}

// appendInString appends s for the inside of a JSON string.
func appendInString(b []byte, s string) []byte {
	start := len(b)
	b = appendQuoted(b, s)
	copy(b[start:], b[start+1:len(b)-1])
	return b[:len(b)-2]
}

// appendMarkup appends s for an element or an attribute in quotes of either kind.
func appendMarkup(b []byte, s string) []byte {
	for {
		before, after, found := strings.Cut(s, "'")
		if b = appendXML(b, before); !found {
			return b
		}
		b, s = append(b, "&#39;"...), after
	}
}
