package intake

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// signatures holds what clouds sign their questions with; a nil key where the operator gave none.
type signatures struct {
	twilio  []byte // the account's auth token
	jambonz []byte // the account's webhook secret
	// bases are the public URL as it is configured, and with the port that it leaves out or without
	// the one that it has: Twilio's own libraries try both, since its back ends differ in that.
	bases []string
}

func newSignatures(in schema.Intake) (signatures, error) {
	s := signatures{twilio: secretKey(in.TwiMLAuthToken), jambonz: secretKey(in.JambonzSecret)}
	if s.twilio == nil {
		return s, nil
	}
	u, err := url.Parse(in.PublicURL)
	switch {
	case in.PublicURL == "":
		return s, errors.New("intake.public_url: found nothing; want the URL that Twilio is given, up to /v1/route")
	case err != nil || u.Host == "":
		return s, fmt.Errorf("intake.public_url: found %q; want an absolute URL", in.PublicURL)
	}
	port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	if u.Port() != "" {
		port = ""
	}
	other := u.Scheme + "://" + strings.TrimSuffix(u.Host, ":"+u.Port()) + port + u.EscapedPath()
	s.bases = []string{in.PublicURL, other}
	return s, nil
}

func secretKey(s schema.Secret) []byte {
	if s.Reveal() == "" {
		return nil
	}
	return []byte(s.Reveal())
}

// twilioSigned checks X-Twilio-Signature: the base64 of an HMAC-SHA1, keyed with the auth token, over
// the URL that was asked and, of a form, each parameter's name and value, sorted by name
// (https://www.twilio.com/docs/usage/security#validating-requests). Another body than a form is not
// covered by it, and refused.
func twilioSigned(s *signatures, q *question, ctx *fasthttp.RequestCtx) (*fault, bool) {
	if s.twilio == nil {
		return nil, false
	}
	var form []byte
	if ctx.IsPost() {
		kind, f := bodyKind(ctx)
		if f != nil {
			return f, true
		}
		if kind == bodyJSON {
			return &fault{code: codeForbidden, field: "X-Twilio-Signature", message: "signs a form or a query, not JSON"}, true
		}
		form = q.sortedForm(ctx.PostBody())
	}
	sent, err := base64.StdEncoding.DecodeString(string(ctx.Request.Header.Peek("X-Twilio-Signature")))
	known := false
	for _, base := range s.bases {
		mac := hmac.New(sha1.New, s.twilio)
		mac.Write([]byte(base))
		mac.Write(ctx.Request.Header.RequestURI())
		mac.Write(form)
		known = hmac.Equal(mac.Sum(nil), sent) || known
	}
	if err != nil || !known {
		return &fault{code: codeForbidden, field: "X-Twilio-Signature",
			message: "missing or wrong; check intake.twiml_auth_token, and that intake.public_url is the URL that Twilio asks"}, true
	}
	return nil, true
}

// sortedForm returns the names and values of a form, decoded and sorted by name, end to end.
func (q *question) sortedForm(text []byte) []byte {
	var pairs [][2]string
	for len(text) > 0 {
		var pair []byte
		pair, text, _ = bytes.Cut(text, []byte("&"))
		name, value, _ := bytes.Cut(pair, []byte("="))
		q.scratch = q.scratch[:0]
		pairs = append(pairs, [2]string{string(q.unescaped(name)), string(q.unescaped(value))})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	var out []byte
	for _, p := range pairs {
		out = append(append(out, p[0]...), p[1]...)
	}
	return out
}

// jambonzTolerance is how far a signature's time may be from ours; jambonz's own SDK allows as much.
const jambonzTolerance = 5 * time.Minute

// jambonzSigned checks Jambonz-Signature, "t=UNIX,v1=HEX[,v1=HEX]": an HMAC-SHA256, keyed with the
// webhook secret, over the time, a dot and the body
// (https://docs.jambonz.org/guides/features/securing-http-endpoints). A GET has no body to sign.
func jambonzSigned(s *signatures, q *question, ctx *fasthttp.RequestCtx) (*fault, bool) {
	if s.jambonz == nil {
		return nil, false
	}
	refused := func(message string) (*fault, bool) {
		return &fault{code: codeForbidden, field: "Jambonz-Signature", message: message}, true
	}
	if !ctx.IsPost() {
		return refused("jambonz signs what it sends by POST only; set the webhook's method to POST")
	}
	var at string
	var sent [][]byte
	for part := range strings.SplitSeq(string(ctx.Request.Header.Peek("Jambonz-Signature")), ",") {
		switch name, value, _ := strings.Cut(strings.TrimSpace(part), "="); name {
		case "t":
			at = value
		case "v1":
			if sum, err := hex.DecodeString(value); err == nil && len(sent) < 4 {
				sent = append(sent, sum)
			}
		}
	}
	mac := hmac.New(sha256.New, s.jambonz)
	mac.Write([]byte(at + "."))
	mac.Write(ctx.PostBody())
	want, known := mac.Sum(nil), false
	for _, sum := range sent {
		known = hmac.Equal(want, sum) || known
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !known {
		return refused("missing or wrong; check that intake.jambonz_secret is the account's webhook secret")
	}
	if age := q.call.At.Sub(time.Unix(seconds, 0)); age.Abs() > jambonzTolerance {
		return refused("made more than 5 minutes ago or ahead; set the clocks right")
	}
	return nil, true
}
