package schema

import (
	"encoding/base64"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strings"
	"time"
)

// checkHook also makes the paths of PEM files relative to the configuration file's folder.
func (p *projectCheck) checkHook(h *Hook, at *path) {
	p.checkLine(at.field("name"), h.Name)
	p.checkHookURLs(h, at)
	p.checkHookForm(h, at)
	p.checkHeaders(h.Headers, at.field("headers"), true)
	p.checkAuth(&h.Auth, at.field("auth"))
	p.checkSigns(h.Sign, h.Sign2, at)
	p.checkHookTLS(&h.TLS, at.field("tls"))
	p.checkParams(h.Params, at.field("params"), h.Send)
	p.checkZone(at.field("tz"), h.TZ)
	p.checkLine(at.field("date_format"), h.DateFormat)

	within(p.loader, at.field("request_timeout"), h.RequestTimeout, time.Millisecond, 30*time.Second)
	within(p.loader, at.field("ring_timeout"), h.RingTimeout, time.Second, time.Hour)
	within(p.loader, at.field("last_good"), h.LastGood, 0, 7*24*time.Hour)
	within(p.loader, at.field("follow_redirects"), h.FollowRedirects, 0, 10)
	within(p.loader, at.field("max_answer_bytes"), h.MaxAnswer, 1, 16<<20)
	within(p.loader, at.field("max_in_flight"), h.MaxInFlight, 1, 100_000)
	p.checkBreaker(&h.Breaker, at.field("breaker"))
	if h.OnFailure != "" {
		p.checkFallback(at.field("on_failure"), h.OnFailure)
	}
}

func (p *projectCheck) checkHookURLs(h *Hook, at *path) {
	p.checkURL(at.field("url"), h.URL, true)
	if h.FallbackURL != "" {
		p.checkURL(at.field("fallback_url"), h.FallbackURL, true)
	}
	if h.Breaker.ProbeURL != "" {
		p.checkURL(at.field("breaker").field("probe_url"), h.Breaker.ProbeURL, false)
	}
}

// checkHookForm checks what is sent, and how the answer is read.
func (l *loader) checkHookForm(h *Hook, at *path) {
	l.oneOf(at.field("method"), h.Method, "GET", "POST", "PUT", "PATCH", "DELETE")
	l.oneOf(at.field("send"), h.Send, "http", "headers", "json", "json-rpc", "form", "xml", "raw")
	l.oneOf(at.field("receive"), h.Receive, "http", "json", "json-rpc")
	l.checkPath(at.field("field"), h.Field)
	l.checkLine(at.field("rpc_method"), h.RPCMethod)
	if h.RPCMethod == "" && h.Send == "json-rpc" {
		l.fault(at.field("rpc_method"), "a method's name, as send is json-rpc")
	}
	switch h.Send {
	case "http", "headers", "json-rpc":
		if h.Body != "" {
			l.faultFound(at.field("body"), "a body with send "+h.Send, "one with send raw, xml, json or form only")
		}
	case "raw":
		if h.Body == "" {
			l.fault(at.field("body"), "the text to send, as send is raw")
		}
	}
	if _, err := ParseTemplate(h.Body); err != nil {
		l.fault(at.field("body"), wantTags)
	}
	if h.ContentType != "none" {
		l.checkMediaType(at.field("content_type"), h.ContentType, ", or none")
	}
}

// checkMediaType checks a Content-Type; an empty one is the default.
func (l *loader) checkMediaType(at *path, text, or string) {
	if text == "" {
		return
	}
	if _, _, err := mime.ParseMediaType(text); err != nil || !plainLine(text) {
		l.fault(at, "a media type, such as text/plain; charset=utf-8%s", or)
	}
}

// framing headers belong to the connection (RFC 9110 7.6.1) or to the body's length: changed by
// hand, they would let one request be read as two.
var framing = []string{
	"connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade",
}

// checkHeaders checks names and values; {{tags}} may stand in values where tags says so.
func (l *loader) checkHeaders(headers map[string]Secret, at *path, tags bool) {
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		l.checkHeaderName(at.field(name), name, seen)
		l.checkHeaderValue(at.field(name), headers[name], tags)
	}
}

// checkHeaderName checks a name; seen holds those before, by their lower case.
func (l *loader) checkHeaderName(at *path, name string, seen map[string]string) {
	lower := strings.ToLower(name)
	switch other, twice := seen[lower]; {
	case !isToken(name):
		l.faultFound(at, "a bad header name", "letters, digits and !#$%%&'*+-.^_`|~ (RFC 9110, token)")
	case slices.Contains(framing, lower):
		l.faultFound(at, "a header that the connection needs for itself", "any other one")
	case twice:
		l.faultFound(at, "the header a second time", "it once (%s is the same one)", other)
	}
	seen[lower] = name
}

func (l *loader) checkHeaderValue(at *path, secret Secret, tags bool) {
	value := secret.Reveal()
	if len(value) > 8192 || !plainLine(strings.ReplaceAll(value, "\t", " ")) {
		l.faultSecret(at, "one line of at most 8192 bytes without control characters")
	}
	if _, err := ParseTemplate(value); tags && err != nil {
		l.faultSecret(at, wantTags)
	}
}

// isToken is RFC 9110's grammar of a header's name.
func isToken(s string) bool {
	return s != "" && len(s) <= 256 && every(s, func(c byte) bool {
		return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	})
}

func (l *loader) checkAuth(a *Auth, at *path) {
	if basic := a.Basic; basic != nil {
		// RFC 7617: the first ":" ends the user.
		if basic.User == "" || strings.Contains(basic.User, ":") || !plainLine(basic.User) {
			l.fault(at.field("basic").field("user"), `a name without ":" and control characters`)
		}
		if !plainLine(basic.Password.Reveal()) {
			l.faultSecret(at.field("basic").field("password"), "one line without control characters")
		}
	}
	bearer := a.Bearer.Reveal()
	switch {
	case a.Basic != nil && l.has(at.field("bearer")):
		l.faultFound(at, "basic and bearer", "one of the two")
	case l.has(at.field("bearer")) && (bearer == "" || !every(bearer, func(c byte) bool { return c > ' ' && c < 0x7f })):
		l.faultSecret(at.field("bearer"), "a token of visible ASCII characters")
	}
}

// checkSigns checks the secrets by which requests are signed: the one in use and the one to come.
func (l *loader) checkSigns(sign, next Secret, at *path) {
	l.checkSign(at.field("sign"), sign)
	l.checkSign(at.field("sign_next"), next)
	if next.Reveal() != "" && sign.Reveal() == "" {
		l.faultSecret(at.field("sign_next"), "sign beside it, which it is to follow")
	}
}

// checkSign checks a Standard Webhooks secret: base64 after "whsec_", any text otherwise.
func (l *loader) checkSign(at *path, secret Secret) {
	if l.has(at) && secret.Reveal() == "" {
		return // sign: "" or an empty variable: nothing is signed
	}
	if encoded, ok := strings.CutPrefix(secret.Reveal(), "whsec_"); ok {
		if key, err := base64.StdEncoding.DecodeString(encoded); err != nil || len(key) == 0 {
			l.faultSecret(at, "base64 after whsec_")
		}
	}
}

func (l *loader) checkHookTLS(t *TLS, at *path) {
	switch {
	case t.Cert != "" && t.Key == "":
		l.fault(at.field("key"), "the key of cert")
	case t.Cert == "" && t.Key != "":
		l.fault(at.field("cert"), "the certificate of key")
	}
	if t.ServerName != "" && !validHost(t.ServerName) {
		l.fault(at.field("server_name"), "a DNS name")
	}
	for key, file := range map[string]*string{"ca": &t.CA, "cert": &t.Cert, "key": &t.Key} {
		switch {
		case *file == "":
		case l.managed:
			l.fault(at.field(key), "none here: a project may name files of this machine in the configuration file only")
		default:
			*file = l.beside(*file)
		}
	}
	if !l.managed {
		t.Contents = l.contentsOf(t)
	}
}

func (l *loader) checkBreaker(b *Breaker, at *path) {
	l.oneOf(at.field("state"), b.State, "auto", "open", "closed")
	within(l, at.field("failures"), b.Failures, 1, 10_000)
	within(l, at.field("failure_rate"), b.FailureRate, 0.01, 1)
	within(l, at.field("min_calls"), b.MinCalls, 1, 100_000)
	within(l, at.field("window"), b.Window, 100*time.Millisecond, time.Hour)
	within(l, at.field("slow_call"), b.SlowCall, 0.01, 1)
	within(l, at.field("open_for"), b.OpenFor, time.Millisecond, time.Hour)
	within(l, at.field("open_for_max"), b.OpenForMax, time.Millisecond, 24*time.Hour)
	within(l, at.field("probes"), b.Probes, 1, 100)
	if b.OpenForMax < b.OpenFor {
		l.faultFound(at.field("open_for_max"), fmt.Sprint(tidy(b.OpenForMax)), "at least open_for, %v", tidy(b.OpenFor))
	}
}

// checkParams checks a list of parameters, and those inside objects.
func (l *loader) checkParams(rules []ParamRule, at *path, send string) {
	for i := range rules {
		l.checkParam(&rules[i], at.item(i), send)
	}
}

func (l *loader) checkParam(r *ParamRule, at *path, send string) {
	l.checkName(at.field("name"), r.Name)
	if send == "headers" && slices.Contains(framing, strings.ToLower(r.Name)) {
		l.faultFound(at.field("name"), "a header that the connection needs for itself", "another name, as send is headers")
	}
	var kinds []string
	for _, key := range []string{"param", "value", "list", "object"} {
		if l.has(at.field(key)) {
			kinds = append(kinds, key)
		}
	}
	if len(kinds) != 1 {
		found := "a parameter without a value"
		if len(kinds) > 1 {
			found = "a parameter with " + list(kinds, "and")
		}
		l.faultFound(at, found, "exactly one of param, value, list and object")
		return
	}
	switch kinds[0] {
	case "param":
		l.checkName(at.field("param"), r.Param)
	case "value":
		if r.Value == nil {
			break // it could not be decoded
		}
		if _, err := ParseTemplate(*r.Value); err != nil {
			l.fault(at.field("value"), wantTags)
		}
	case "list":
		l.checkNotEmpty(at.field("list"), len(r.List))
		for i, name := range r.List {
			l.checkName(at.field("list").item(i), name)
		}
	case "object":
		l.checkNotEmpty(at.field("object"), len(r.Object))
		l.checkParams(r.Object, at.field("object"), "json")
	}
	if r.Hash != "" {
		l.oneOf(at.field("hash"), r.Hash, "md5", "crc32", "sha1", "sha256")
		if kinds[0] == "object" {
			l.faultFound(at.field("hash"), "a hash of an object", "one of a value in it")
		}
	}
	l.checkLine(at.field("date_format"), r.DateFormat)
}

func (l *loader) checkNotEmpty(at *path, n int) {
	if n == 0 {
		l.fault(at, "at least one item")
	}
}
