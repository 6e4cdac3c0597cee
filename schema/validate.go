package schema

import (
	"cmp"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// checkConfig checks what the decoder read: values first, then what refers to what.
func (l *loader) checkConfig(c *Config) {
	var root *path
	l.checkServer(c)
	l.checkDialing(&c.Dial, root.field("dial"), false)
	l.checkProjects(c)
}

// checkServer checks the installation's own settings.
func (l *loader) checkServer(c *Config) {
	var root *path
	l.checkListen(root.field("listen"), c.Listen)
	admin := root.field("admin")
	l.checkListen(admin.field("listen"), c.Admin.Listen)
	if c.Listen == c.Admin.Listen && !strings.HasSuffix(c.Listen, ":0") {
		l.faultFound(root.field("listen"), "the address of admin.listen", "another one")
	}
	l.checkAdminTokens(c.Admin.Tokens, admin.field("tokens"))
	l.checkStore(root.field("store"), c.Store)
	l.checkIntake(&c.Intake, root.field("intake"))

	log := root.field("log")
	l.oneOf(log.field("level"), c.Log.Level, "debug", "info", "warn", "error")
	l.oneOf(log.field("format"), c.Log.Format, "json", "console")
	within(l, log.field("sample_first"), c.Log.SampleFirst, 0, 1_000_000)
	within(l, log.field("sample_thereafter"), c.Log.SampleThereafter, 0, 1_000_000)

	tracing := root.field("tracing")
	if c.Tracing.Endpoint != "" {
		l.checkURL(tracing.field("endpoint"), c.Tracing.Endpoint, false)
	}
	l.checkHeaders(c.Tracing.Headers, tracing.field("headers"), false)
	within(l, tracing.field("sample"), c.Tracing.Sample, 0, 1)

	continuation := root.field("continuation")
	if c.Continuation.Key.Reveal() != "" {
		l.checkToken(continuation.field("key"), c.Continuation.Key)
	}
	within(l, continuation.field("max"), c.Continuation.Max, 0, 100)
	within(l, continuation.field("expires"), c.Continuation.Expires, time.Second, 24*time.Hour)
	repeats := root.field("repeats")
	within(l, repeats.field("window"), c.Repeats.Window, 0, 10*time.Minute)
	within(l, repeats.field("memory_bytes"), c.Repeats.Memory, 1<<20, 1<<30)

	callers, events := root.field("callers"), root.field("events")
	within(l, callers.field("keep"), c.Callers.Keep, 0, 10*365*24*time.Hour)
	within(l, callers.field("deadline"), c.Callers.Deadline, 100*time.Microsecond, time.Second)
	within(l, events.field("workers"), c.Events.Workers, 1, 10_000)
	within(l, events.field("log_for"), c.Events.LogFor, 0, 365*24*time.Hour)
	within(l, events.field("log_entries"), c.Events.LogEntries, 1, 1_000_000)

	servers := root.field("dns").field("servers")
	for i, s := range c.DNS.Servers {
		if a, err := netip.ParseAddrPort(s); err != nil || a.Port() == 0 {
			l.fault(servers.item(i), "an address and port, such as 192.0.2.53:53 or [2001:db8::53]:53")
		}
	}
}

func (l *loader) checkIntake(in *Intake, at *path) {
	within(l, at.field("max_body_bytes"), in.MaxBody, 1<<10, 64<<20)
	within(l, at.field("max_header_bytes"), in.MaxHeader, 1<<10, 1<<20)
	within(l, at.field("max_connections"), in.MaxConns, 1, 1_000_000)
	within(l, at.field("read_timeout"), in.ReadTimeout, time.Millisecond, 5*time.Minute)
	within(l, at.field("idle_timeout"), in.IdleTimeout, time.Millisecond, 24*time.Hour)
	within(l, at.field("drain_timeout"), in.DrainTimeout, time.Millisecond, 10*time.Minute)
	within(l, at.field("budget"), in.Budget, time.Millisecond, time.Minute)
	for i, token := range in.Tokens {
		l.checkToken(at.field("tokens").item(i), token)
	}
	for i, text := range in.AllowFrom {
		_, err := netip.ParsePrefix(text)
		if a, bad := netip.ParseAddr(text); err != nil && (bad != nil || a.Zone() != "") {
			l.fault(at.field("allow_from").item(i), "an address or a prefix, such as 192.0.2.7 or 10.0.0.0/8")
		}
	}
	l.checkSignatures(in, at)
}

// checkSignatures checks the secrets by which clouds sign, and the URL that they know us by.
func (l *loader) checkSignatures(in *Intake, at *path) {
	if in.PublicURL != "" {
		l.checkPublicURL(at.field("public_url"), in.PublicURL)
	}
	if in.TwiMLAuthToken.Reveal() != "" {
		l.checkToken(at.field("twiml_auth_token"), in.TwiMLAuthToken)
		if in.PublicURL == "" {
			l.fault(at.field("public_url"), "the URL before /v1/route that Twilio is given, https://pbx.example: it is part of what intake.twiml_auth_token signs")
		}
	}
	if in.JambonzSecret.Reveal() != "" {
		l.checkToken(at.field("jambonz_secret"), in.JambonzSecret)
	}
}

// checkPublicURL wants a URL to which a path can be appended, and which can stand in any answer as
// it is.
func (l *loader) checkPublicURL(at *path, text string) {
	plain := every(text, func(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("-._~:/[]", c) >= 0 })
	if !plain || strings.HasSuffix(text, "/") || strings.Contains(text, "/v1/route") || urlProblem(text, false) != "" {
		l.fault(at, `a URL of letters, digits and - . _ ~ that ends before /v1/route, such as https://pbx.example`)
	}
}

func (l *loader) checkAdminTokens(tokens []Token, at *path) {
	named := map[string]bool{}
	for i, t := range tokens {
		at := at.item(i)
		switch {
		case !validID(t.Name):
			l.fault(at.field("name"), wantID)
		case named[t.Name]:
			l.fault(at.field("name"), "a name that no other token has")
		}
		named[t.Name] = true
		l.checkToken(at.field("token"), t.Token)
		if len(t.Scopes) == 0 {
			l.fault(at.field("scopes"), "read, write or both")
		}
		for j, scope := range t.Scopes {
			l.oneOf(at.field("scopes").item(j), scope, "read", "write")
		}
		if t.Project != "" && !validID(t.Project) { // whether there is one now, the API knows
			l.fault(at.field("project"), "a project's id, or nothing for all of them")
		}
	}
}

// checkToken checks a Bearer token that opens one of our doors: RFC 6750's characters, and too many
// of them to guess.
func (l *loader) checkToken(at *path, token Secret) {
	if text := token.Reveal(); len(text) < 16 || !every(text, isTokenByte) {
		l.faultSecret(at, "at least 16 characters of 0-9 A-Z a-z - . _ ~ + / =")
	}
}

func isTokenByte(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("-._~+/=", c) >= 0 }

func (l *loader) checkListen(at *path, address string) {
	colon := strings.LastIndexByte(address, ':')
	if colon >= 0 {
		host := address[:colon]
		port, err := strconv.ParseUint(address[colon+1:], 10, 16)
		if err == nil && strconv.FormatUint(port, 10) == address[colon+1:] && (host == "" || validHost(host)) {
			return
		}
	}
	l.fault(at, "host:port, such as 127.0.0.1:8077, [::1]:8077 or :8077")
}

// checkStore checks no more than the store's kind: the rest of its URL is for store.Open to read.
func (l *loader) checkStore(at *path, store string) {
	kind, rest, _ := strings.Cut(store, ":")
	switch kind {
	case "none":
		if store == "none" {
			return
		}
	case "bolt":
		if rest != "" && plainLine(rest) {
			return
		}
	case "redis", "rediss", "redis+cluster", "redis+sentinel":
		if len(rest) > 2 && rest[:2] == "//" && plainLine(rest) && !strings.Contains(rest, " ") {
			return
		}
	}
	const want = "bolt:PATH, redis://HOST:PORT/DB, rediss://, redis+cluster://, redis+sentinel:// or none"
	if strings.Contains(store, "@") {
		l.faultFound(at, "a URL with a password", want)
		return
	}
	l.fault(at, want)
}

// checkURL checks an absolute http or https URL: its scheme, host and port are fixed; {{tags}} may
// stand after them, where tags says so.
func (l *loader) checkURL(at *path, text string, tags bool) {
	if strings.Contains(text, "@") {
		if u, err := url.Parse(text); err != nil || u.User != nil {
			l.faultFound(at, "a URL with user:password@, or a bad one", "one without; auth is the place for them")
			return
		}
	}
	if problem := urlProblem(text, tags); problem != "" {
		l.fault(at, "%s", problem)
	}
}

// urlProblem says what text should have been, "" where it is right.
func urlProblem(text string, tags bool) string {
	t, err := ParseTemplate(text)
	if err != nil {
		return wantTags
	}
	bare := text
	if parts := t.Parts(); len(parts) > 0 && parts[0].Tag != nil {
		if !tags {
			return "a URL without {{tags}}; there is no call when it is asked"
		}
		_, afterScheme, _ := strings.Cut(parts[0].Literal, "://")
		if !strings.ContainsAny(afterScheme, "/?") {
			return "a URL whose scheme, host and port hold no {{tags}}: a call must not choose who is asked"
		}
		bare = ""
		for _, part := range parts {
			bare += part.Literal + "0" // any value that is one character everywhere
		}
	}
	u, err := url.Parse(bare)
	host := ""
	if err == nil {
		host = u.Hostname()
	}
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", host == "", u.Opaque != "":
		return "an absolute URL, http://host[:port]/… or https://…"
	case len(text) > 4096:
		return "a URL of at most 4096 bytes"
	case strings.Contains(bare, "#"):
		return `a URL without "#": what follows it would not be sent; write %23 where it is part of a value`
	case !plainLine(text):
		return "a URL without control characters"
	case !validURLHost(u.Host, host):
		return "a URL whose host is a DNS name, an IPv4 address, or an IPv6 address in brackets"
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "a URL with a port of 1 to 65535"
		}
	}
	return ""
}

// validURLHost is validHost for a webhook's: names with "_" are common inside container networks, and
// one in Cyrillic is sent as Punycode (RFC 5891).
func validURLHost(hostport, host string) bool {
	if strings.HasPrefix(hostport, "[") {
		return validHost("[" + host + "]")
	}
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	return validHost(strings.ReplaceAll(host, "_", "x"))
}

// wantTags says no more of what is wrong: the text may hold what ${NAME} stands for.
const wantTags = "{{tags}} that are closed and hold a name: letters, digits, _ and -, then .name or [0]"

const wantID = "1 to 64 letters, digits, \".\", \"_\" and \"-\", beginning with a letter or digit"

// validID: ids stand in URLs, cursors, logs and metric labels, so they are plain.
func validID(id string) bool {
	return id != "" && len(id) <= 64 && isAlphanumeric(id[0]) && every(id, isLoginByte)
}

// checkLine checks free text that is shown to people or handed to a PBX.
func (l *loader) checkLine(at *path, text string) {
	if len(text) > 256 || !plainLine(text) {
		l.fault(at, "one line of at most 256 bytes without control characters")
	}
}

func (l *loader) checkPath(at *path, text string) {
	if !harmlessPath(text) {
		l.fault(at, `a path into the answer, such as dst_phone, result.phone, items.0.phone or agents.#(online==true).phone; without @ ! { } [ ]`)
	}
}

// harmlessPath reports whether text is a gjson path (github.com/tidwall/gjson, SYNTAX.md) of names, places, #
// and queries. What makes something else of the answer than it is, is none: a modifier may double its size,
// and a few dozen of them take the machine's memory; a literal would stand in the answer's place.
func harmlessPath(text string) bool {
	literal := strings.Contains(strings.ReplaceAll(text, "!=", ""), "!")
	return len(text) <= 256 && plainLine(text) && !literal && !strings.ContainsAny(text, "@{}[]") && !strings.HasPrefix(text, "..")
}

// plainLine reports text without control characters, line breaks among them.
func plainLine(s string) bool {
	return every(s, func(c byte) bool { return c >= ' ' && c != 0x7f }) && utf8.ValidString(s)
}

func (l *loader) oneOf(at *path, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	l.fault(at, "%s", list(allowed, "or"))
}

func (l *loader) checkZone(at *path, name string) *time.Location {
	zone, known := l.zones[name]
	if !known {
		zone, _ = time.LoadLocation(name)
		l.zones[name] = zone
	}
	if zone == nil {
		l.fault(at, "an IANA time zone, such as Europe/Kyiv")
	}
	return zone
}

// within checks that value is from low to high.
func within[T cmp.Ordered](l *loader, at *path, value, low, high T) {
	if value < low || value > high {
		l.fault(at, "%v to %v", tidy(low), tidy(high))
	}
}

// tidy prints a duration as one would write it: 1h, not 1h0m0s.
func tidy(v any) any {
	d, ok := v.(time.Duration)
	if !ok {
		return v
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
