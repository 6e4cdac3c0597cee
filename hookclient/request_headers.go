package hookclient

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"hookswitch/schema"
)

// defaultUserAgent is sent where a hook's headers don't say otherwise.
const defaultUserAgent = "hookswitch/1"

// headerLine is one header of every request of a hook.
type headerLine struct {
	name, value string
	configured  bool // by the customer: may have tags, and is nobody else's business
}

// headerList is headers in the order in which they are sent; a name is in it once, whatever its
// case.
type headerList []headerLine

func (l headerList) index(name string) int {
	return slices.IndexFunc(l, func(h headerLine) bool { return strings.EqualFold(h.name, name) })
}

// set adds a header, in the place of one of the same name.
func (l headerList) set(h headerLine) headerList {
	if i := l.index(h.name); i >= 0 {
		l[i] = h
		return l
	}
	return append(l, h)
}

// framing are the headers that say where a request ends and who it is for. No configured header and
// no parameter may touch them.
var framing = []string{
	"Content-Length", "Transfer-Encoding", "Trailer", "TE", "Upgrade", "Expect", "Keep-Alive", "Proxy-Connection",
}

func isFraming(name string) bool {
	return slices.ContainsFunc(framing, func(f string) bool { return strings.EqualFold(f, name) })
}

// headersOf lists a hook's headers: those that its way of sending implies, then its own, which
// replace or, when empty, remove one.
func headersOf(h *schema.Hook, user *url.Userinfo, contentType string) (headerList, error) {
	accept := "*/*"
	if h.Send == "json" || h.Send == "json-rpc" {
		accept = "application/json"
	}
	list := headerList{{name: "User-Agent", value: defaultUserAgent}, {name: "Accept", value: accept}, {name: "Accept-Encoding", value: "gzip, br"}}
	if contentType != "" {
		list = append(list, headerLine{name: "Content-Type", value: contentType})
	}
	credentials, err := authorization(h.Auth, user)
	if err != nil {
		return nil, err
	}
	if credentials != "" {
		list = append(list, headerLine{name: "Authorization", value: credentials})
	}
	names := make([]string, 0, len(h.Headers))
	for name := range h.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == "" || string(appendHeaderName(nil, name)) != name || isFraming(name) {
			return nil, at("headers", fmt.Errorf("%q cannot be sent; want a header's name, and none that says where a request ends", name))
		}
		if value := h.Headers[name].Reveal(); value != "" {
			list = list.set(headerLine{name: name, value: value, configured: true})
		} else if i := list.index(name); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
	}
	return list, nil
}

// authorization is the value of the header of that name, "" for none. What is configured comes
// before a user in the URL.
func authorization(auth schema.Auth, user *url.Userinfo) (string, error) {
	basic, bearer := auth.Basic, auth.Bearer.Reveal()
	switch {
	case basic != nil && bearer != "":
		return "", at("auth", errors.New("found basic and bearer; want one of them"))
	case bearer != "":
		return "Bearer " + bearer, nil
	case basic == nil && user != nil:
		password, _ := user.Password()
		basic = &schema.BasicAuth{User: user.Username(), Password: schema.NewSecret(password)}
	case basic == nil:
		return "", nil
	}
	if strings.Contains(basic.User, ":") {
		return "", at("auth.basic.user", fmt.Errorf("found %q; want no colon in it (RFC 7617, 2)", basic.User))
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(basic.User+":"+basic.Password.Reveal())), nil
}

// taggedHeader is a header whose value differs from call to call.
type taggedHeader struct {
	name  string
	value pieces
}

// compileHeaders writes the headers that are always the same as they are sent, the host's among them,
// and returns the others.
func compileHeaders(list headerList, host string) (fixed string, tagged []taggedHeader, err error) {
	var b []byte
	if list.index("Host") < 0 {
		b = appendHeaderLine(b, "Host", host)
	}
	for _, line := range list {
		ps := pieces{{literal: line.value}}
		if line.configured {
			if ps, err = pieceTogether(line.value, appendHeaderText); err != nil {
				return "", nil, at("headers."+line.name, err)
			}
		}
		text, literal := ps.literal()
		switch {
		case literal:
			b = appendHeaderLine(b, line.name, text)
		case strings.EqualFold(line.name, "Host"):
			return "", nil, at("headers.Host", errors.New("found a tag; want one host for all calls"))
		default:
			tagged = append(tagged, taggedHeader{line.name, ps})
		}
	}
	return string(b), tagged, nil
}

// appendHeaderLine appends a header, its value made fit for one. The name must be fit.
func appendHeaderLine(b []byte, name, value string) []byte {
	return appendHeaderValue(append(b, name...), value)
}

// appendHeaderValue appends what stands behind a header's name.
func appendHeaderValue(b []byte, value string) []byte {
	return append(appendHeader(append(b, ": "...), value), "\r\n"...)
}

// appendParams sends parameters as headers. One that would replace a header of ours, or be another parameter's
// second one, is left out.
func (b *builder) appendParams(out []byte, f *filling) []byte {
	f.names = f.names[:0]
	for i := range b.params.fields {
		field := &b.params.fields[i]
		if v := field.value.get(f); v != "" || !field.optional {
			f.names = append(f.names, span{len(out), len(out) + len(field.open)})
			out = appendHeaderLine(out, field.open, v)
		}
	}
	if !b.params.customs {
		return out
	}
	for _, custom := range f.call.Customs() {
		start := len(out)
		out = appendHeaderName(out, custom.Name)
		if name := view(out[start:]); name == "" || b.taken(name) || !f.isNew(out, start, b.params.style) {
			out = out[:start]
			continue
		}
		out = appendHeaderValue(out, custom.Value)
	}
	return out
}

// taken tells a name that a parameter may not be sent under, since a header of ours has it or could
// have.
func (b *builder) taken(name string) bool {
	if isFraming(name) || b.headers.index(name) >= 0 {
		return true
	}
	return slices.ContainsFunc(ours, func(o string) bool { return strings.EqualFold(o, name) })
}

// ours are the headers beyond the framing that say who asks and how, be they sent or not.
var ours = []string{
	"Host", "Connection", "Content-Type", "Content-Encoding", "Authorization", "Proxy-Authorization", "Cookie",
	"Traceparent", headerWebhookID, headerWebhookTimestamp, headerWebhookSignature,
}
