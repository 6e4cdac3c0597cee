package hookclient

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// hide adds to what is not to be shown.
func (b *builder) hide(secrets ...string) {
	b.secrets = append(b.secrets, secrets...)
	b.secrets = slices.DeleteFunc(b.secrets, func(s string) bool { return len(s) < 4 })
	slices.SortFunc(b.secrets, func(x, y string) int { return len(y) - len(x) })
}

// describeAnswer writes an answer as text for a person: status, the headers that matter to a delivery,
// and the beginning of its body, without the secrets that it may quote. body is resp's, decoded.
func (b *builder) describeAnswer(resp *response, body []byte) string {
	var text strings.Builder
	fmt.Fprintf(&text, "HTTP/1.1 %d %s\n", resp.status, fasthttp.StatusMessage(resp.status))
	for _, name := range []string{"Content-Type", "Location", "Retry-After"} {
		value := string(resp.header(name))
		if path, query, asks := strings.Cut(value, "?"); asks {
			value = path + "?" + maskQuery(query)
		}
		if value != "" {
			fmt.Fprintf(&text, "%s: %s\n", name, cutBody(value))
		}
	}
	switch {
	case len(body) == 0:
	case !utf8.Valid(body) || slices.Contains(body, 0):
		fmt.Fprintf(&text, "\n(%d bytes that are not text)", len(body))
	default:
		text.WriteString("\n" + cutBody(b.hideConstants(string(body))))
	}
	return printable(b.hideConstants(text.String()))
}

// secretsOf returns what w's URL and template hold in confidence, as far as one can tell: a password,
// the values under names that sound secret, and the segments of the path that look like a key.
func secretsOf(w *schema.Webhook) []string {
	var found []string
	for _, m := range namedValue.FindAllStringSubmatch(w.Template, -1) {
		if soundsSecret(m[1]) {
			found = append(found, m[2])
		}
	}
	head, query, _ := strings.Cut(w.URL, "?")
	for pair := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(pair, "="); soundsSecret(name) && !strings.Contains(value, "{{") {
			found = append(found, value)
		}
	}
	_, head, _ = strings.Cut(head, "://")
	authority, path, _ := strings.Cut(head, "/")
	if u, err := url.Parse("http://" + authority); err == nil && u.User != nil {
		password, _ := u.User.Password()
		written, _, _ := strings.Cut(authority, "@")
		_, written, _ = strings.Cut(written, ":")
		found = append(found, password, written, base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
	}
	for segment := range strings.SplitSeq(path, "/") {
		if keySegment.MatchString(segment) && strings.ContainsAny(segment, "0123456789") && strings.ContainsFunc(segment, isLetter) {
			found = append(found, segment)
		}
	}
	return found
}

var (
	// namedValue is a name and the value after it, in JSON, in a form and in XML.
	namedValue = regexp.MustCompile(`([A-Za-z0-9_.-]+)["']?\s*[:=>]\s*["']?([^"'&<>,;{}\s]{4,})`)
	// keySegment is a bot's token in Telegram's addresses, a webhook's code in Bitrix24's and Slack's.
	keySegment = regexp.MustCompile(`^[A-Za-z0-9_:-]{16,}$`)
)

func isLetter(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }

// longestRetryAfter bounds what an answer may ask for.
const longestRetryAfter = 7 * 24 * time.Hour

// retryAfter reads a Retry-After header (RFC 9110, 10.2.3): seconds, or a date in any of the three forms
// of HTTP (5.6.7). What cannot be read and what is over already is 0.
func retryAfter(text string, now time.Time) time.Duration {
	if text = strings.TrimSpace(text); text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > int64(longestRetryAfter/time.Second) {
			return longestRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	for _, layout := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		if at, err := time.Parse(layout, text); err == nil {
			return min(max(0, at.Sub(now)), longestRetryAfter)
		}
	}
	return 0
}
