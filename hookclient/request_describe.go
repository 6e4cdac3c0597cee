package hookclient

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"hookswitch/schema"
)

// describedBody is how much of a body describe shows, in bytes.
const describedBody = 2 << 10

// describe writes a request that build made as text for a person: request line, headers, body,
// without secrets and without characters that a terminal would act on. It is not for the hot path.
func (b *builder) describe(raw []byte) string {
	var text strings.Builder
	head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	target, version := lines[0], ""
	if i := strings.LastIndexByte(target, ' '); i >= 0 {
		target, version = target[:i], target[i:]
	}
	path, query, asks := strings.Cut(target, "?")
	text.WriteString(path)
	if asks {
		text.WriteString("?" + maskQuery(query))
	}
	text.WriteString(version + "\n")
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		fmt.Fprintf(&text, "%s: %s\n", name, b.shownHeader(name, value))
	}
	if body != "" {
		text.WriteString("\n" + cutBody(b.hideConstants(body)))
	}
	return printable(b.hideConstants(text.String()))
}

const masked = "***"

// shownHeader is a header's value as it may be seen: configured values are secrets unless they are
// of a kind that never is.
func (b *builder) shownHeader(name, value string) string {
	if neverSecret(name) {
		return value
	}
	switch strings.ToLower(name) {
	case "authorization":
		scheme, _, _ := strings.Cut(value, " ")
		if scheme == "Basic" || scheme == "Bearer" {
			return scheme + " " + masked
		}
		return masked
	case "cookie", "proxy-authorization", headerWebhookSignature:
		return masked
	}
	if i := b.headers.index(name); i >= 0 && b.headers[i].configured || soundsSecret(name) {
		return masked
	}
	return value
}

// neverSecret tells the headers whose values anybody may see, configured or not.
func neverSecret(name string) bool {
	switch strings.ToLower(name) {
	case "accept", "accept-encoding", "accept-language", "content-type", "user-agent", "host":
		return true
	}
	return false
}

// soundsSecret tells a name whose value is likely to be a credential.
func soundsSecret(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "key", "sign", "sig", "pass", "pwd", "psw", "auth":
		return true
	}
	for _, word := range []string{"token", "secret", "password", "passwd", "api_key", "apikey", "api-key", "signature", "authorization"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// maskQuery hides the values of a query whose names sound secret.
func maskQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		if name, value, _ := strings.Cut(pair, "="); value != "" && soundsSecret(name) {
			pairs[i] = name + "=" + masked
		}
	}
	return strings.Join(pairs, "&")
}

// secretConstants returns the literal text of parameters whose names sound secret, as it is written
// in the request. Pieces of under four characters are let be: hiding them would only garble the rest.
func secretConstants(s *style, rules []schema.ParamRule) []string {
	var found []string
	for i := range rules {
		rule := &rules[i]
		found = append(found, secretConstants(s, rule.Object)...)
		if rule.Value == nil || rule.Hash != "" || !soundsSecret(rule.Name) {
			continue
		}
		t, err := schema.ParseTemplate(*rule.Value)
		if err != nil {
			continue // newBuilder has refused it already
		}
		for _, part := range t.Parts() {
			if text := string(s.escape(nil, part.Literal)); len(text) >= 4 {
				found = append(found, text)
			}
		}
	}
	return found
}

// configuredSecrets returns what h holds in confidence, as a webhook that echoes its request would
// quote it: header values, credentials and signing keys.
func configuredSecrets(h *schema.Hook) []string {
	found := []string{h.Auth.Bearer.Reveal(), h.Sign.Reveal(), h.Sign2.Reveal()}
	if basic := h.Auth.Basic; basic != nil {
		password := basic.Password.Reveal()
		found = append(found, password, base64.StdEncoding.EncodeToString([]byte(basic.User+":"+password)))
	}
	for name, value := range h.Headers {
		if neverSecret(name) {
			continue
		}
		t, err := schema.ParseTemplate(value.Reveal())
		if err != nil {
			continue // newBuilder has refused it already
		}
		for _, part := range t.Parts() {
			found = append(found, strings.TrimSpace(part.Literal))
		}
	}
	return slices.DeleteFunc(found, func(s string) bool { return len(s) < 4 })
}

// hideConstants takes the secrets out of a text, and the beginning of one where an excerpt was cut
// in the middle of it.
func (b *builder) hideConstants(text string) string {
	for _, secret := range b.secrets {
		text = strings.ReplaceAll(text, secret, masked)
	}
	before, after, cut := strings.Cut(text, "…")
	if !cut {
		return text
	}
	for _, secret := range b.secrets {
		for n := len(secret) - 1; n >= 4; n-- {
			if rest, ends := strings.CutSuffix(before, secret[:n]); ends {
				return rest + masked + "…" + after
			}
		}
	}
	return text
}

func cutBody(body string) string {
	if len(body) <= describedBody {
		return body
	}
	n := describedBody
	for n > 0 && !utf8.RuneStart(body[n]) {
		n--
	}
	return fmt.Sprintf("%s… (%d bytes in all)", body[:n], len(body))
}

// printable replaces what a terminal might take for a command.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
}
