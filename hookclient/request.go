package hookclient

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hookswitch/schema"
)

// builder builds the requests of one hook to one URL. All that can be done before a call is done in
// newBuilder; build fills in what the call brings. A builder is safe for concurrent use.
type builder struct {
	address
	loc    *time.Location
	layout string // of dates

	method  string
	headers headerList // all of them that do not come from the call alone
	fixed   string     // those that are the same in every request, as they are sent
	tagged  []taggedHeader
	closes  bool    // a header of the hook's own says that the connection ends with the request
	signer  *signer // nil without a signature

	// The body is head, the parameters or the template, then tail; the parameters travel in the
	// query or in headers where place says so.
	place      place
	params     params
	template   pieces // nil without one
	head, tail string
	rpc        bool // the tail ends with the request's id

	secrets []string // not to be shown, as they are written
}

// place is where a request has its parameters.
type place uint8

const (
	inBody place = iota
	inQuery
	inHeaders
	nowhere // the body is a template, or there is none
)

// defaultLayout is the documented form of the date, "2018-08-13 11:11:11".
const defaultLayout = "2006-01-02 15:04:05"

// newBuilder reads all that h says about its requests, to be sent to rawURL, which is one of its
// URLs. Dates that the PBX does not give are written in loc; nil is UTC. An error names the key of
// the configuration that cannot be used, except for the URL itself, whose key the caller knows.
func newBuilder(h *schema.Hook, rawURL string, loc *time.Location) (*builder, error) {
	b := &builder{loc: loc}
	if loc == nil {
		b.loc = time.UTC
	}
	err := b.address.read(rawURL)
	if err != nil {
		return nil, at("url", err)
	}
	if b.layout, err = dateLayout(h.DateFormat, defaultLayout); err != nil {
		return nil, at("date_format", err)
	}
	b.method = strings.ToUpper(h.Method)
	if !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, b.method) {
		return nil, at("method", fmt.Errorf("found %q; want GET, POST, PUT, PATCH or DELETE", h.Method))
	}
	contentType, err := b.shape(h, b.method)
	if err != nil {
		return nil, err
	}
	if err := b.readHeaders(h, contentType); err != nil {
		return nil, err
	}
	if err := b.readParams(h); err != nil {
		return nil, err
	}
	b.secrets = append(b.secrets, configuredSecrets(h)...)
	// The longest first: one may be part of another.
	slices.SortFunc(b.secrets, func(x, y string) int { return len(y) - len(x) })
	b.signer, err = newSigner(h.Sign, h.Sign2)
	return b, at("sign", err)
}

// shape settles where the parameters go and what stands around them. It returns the content type
// of the body, "" where there is none.
func (b *builder) shape(h *schema.Hook, method string) (contentType string, err error) {
	inURL := method == "GET" || method == "DELETE"
	switch h.Send {
	case "http":
		if b.params.style = &formStyle; inURL {
			b.place = inQuery
			return "", noTemplate(h)
		}
		contentType = "application/x-www-form-urlencoded"
	case "query": // a webhook's; a hook says so by its method
		b.params.style, b.place = &formStyle, inQuery
		return "", noTemplate(h)
	case "headers":
		b.params.style, b.place = &headerStyle, inHeaders
		return "", noTemplate(h)
	case "json":
		// A GET has its parameters in the address: there the document says that "http or json makes
		// no difference", and its handler reads $_GET.
		if method == "GET" && h.Body == "" {
			b.params.style, b.place = &formStyle, inQuery
			return "", nil
		}
		b.params.style, b.head, b.tail = &jsonStyle, "{", "}"
		contentType = "application/json"
	case "json-rpc":
		if h.RPCMethod == "" {
			return "", at("rpc_method", errors.New("empty; want the method to call"))
		}
		b.rpc, b.params.style = true, &jsonStyle
		b.head = `{"jsonrpc":"2.0","method":"` + string(appendJSON(nil, h.RPCMethod)) + `","params":`
		b.tail = `,"id":`
		if h.Body == "" {
			b.head, b.tail = b.head+"{", "}"+b.tail
		}
		contentType = "application/json"
	case "form":
		b.params.style, contentType = &formStyle, "application/x-www-form-urlencoded"
	case "xml":
		b.params.style, b.head, b.tail = &xmlStyle, "<request>", "</request>"
		contentType = "application/xml"
	case "raw":
		b.place = nowhere
		if h.Body == "" {
			return "", nil
		}
		contentType = "text/plain; charset=utf-8"
	default:
		return "", at("send", fmt.Errorf("found %q; want http, headers, json, json-rpc, form, xml or raw", h.Send))
	}
	return b.readTemplate(h, contentType)
}

func noTemplate(h *schema.Hook) error {
	if h.Body == "" {
		return nil
	}
	return at("body", fmt.Errorf("%s with send %s has no body; want json, form, xml or raw", h.Method, h.Send))
}

// readTemplate puts the hook's own body, where it has one, in the parameters' place.
func (b *builder) readTemplate(h *schema.Hook, implied string) (contentType string, err error) {
	contentType = implied
	switch h.ContentType {
	case "":
	case "none":
		contentType = ""
	default:
		contentType = h.ContentType
	}
	if h.Body == "" {
		return contentType, nil
	}
	// Only a raw body is what its content type says; the others are what send says.
	escapedFor := implied
	if h.Send == "raw" {
		escapedFor = contentType
		for name, value := range h.Headers {
			if strings.EqualFold(name, "Content-Type") {
				escapedFor = value.Reveal()
			}
		}
	}
	if !b.rpc {
		b.head, b.tail = "", ""
	}
	b.place = nowhere
	if b.template, err = readBody(h.Body, escapedFor); err != nil {
		return "", at("body", err)
	}
	return contentType, nil
}

func (b *builder) readHeaders(h *schema.Hook, contentType string) (err error) {
	if b.headers, err = headersOf(h, b.user, contentType); err != nil {
		return err
	}
	b.closes = b.headers.index("Connection") >= 0
	b.fixed, b.tagged, err = compileHeaders(b.headers, b.hostHeader)
	return err
}

func (b *builder) readParams(h *schema.Hook) (err error) {
	if b.place == nowhere {
		return nil
	}
	c := compiler{style: b.params.style, layout: b.layout}
	if len(h.Params) == 0 {
		b.params.fields, b.params.customs = c.catalogue(), true
	} else if b.params.fields, err = c.rules(h.Params, "", "params"); err != nil {
		return err
	}
	if b.place == inHeaders {
		b.params.fields = slices.DeleteFunc(b.params.fields, func(f field) bool { return b.taken(f.open) })
	}
	b.secrets = secretConstants(b.params.style, h.Params)
	return nil
}

// request is a request as it is sent, in memory that release gives back.
type request struct {
	raw    []byte
	closes bool // the connection ends with it
	f      *filling
}

func (r *request) release() { r.f.release() }

// body is what stands behind the headers.
func (r *request) body() []byte {
	_, body, _ := bytes.Cut(r.raw, []byte("\r\n\r\n"))
	return body
}

// setHeader adds a header, in the place of those of its name. It is not for the hot path.
func (r *request) setHeader(name, value string) {
	head, body, _ := bytes.Cut(r.raw, []byte("\r\n\r\n"))
	raw := make([]byte, 0, len(r.raw)+len(name)+len(value)+4)
	for i, line := range bytes.Split(head, []byte("\r\n")) {
		if n, _, _ := bytes.Cut(line, []byte(":")); i == 0 || !equalFold(n, name) {
			raw = append(append(raw, line...), "\r\n"...)
		}
	}
	raw = append(appendHeaderLine(raw, name, value), "\r\n"...)
	r.raw = append(raw, body...)
}

// build writes the whole request for call c: method, address, headers and body. now is the date where
// the PBX gave none, and the signature's time. id is the JSON-RPC id, and part of the signature's
// message id. Nothing in the request points to c's memory.
func (b *builder) build(c *schema.Call, now time.Time, id uint64) *request {
	f := fillings.Get().(*filling)
	f.call, f.now = c, now.In(b.loc)
	f.body = b.appendBody(f.body[:0], f, id)

	out := append(append(f.out[:0], b.method...), ' ')
	if b.place == inQuery {
		out = b.address.append(out, f, &b.params, b.layout)
	} else {
		out = b.address.append(out, f, nil, b.layout)
	}
	out = append(append(out, " HTTP/1.1\r\n"...), b.fixed...)
	if len(f.body) > 0 || b.method != "GET" {
		out = append(strconv.AppendInt(append(out, "Content-Length: "...), int64(len(f.body)), 10), "\r\n"...)
	}
	for i := range b.tagged {
		f.line = b.tagged[i].value.append(f.line[:0], f, b.layout)
		out = appendHeaderLine(out, b.tagged[i].name, view(f.line))
	}
	if b.place == inHeaders {
		out = b.appendParams(out, f)
	}
	if c.Traceparent != "" && b.headers.index("traceparent") < 0 {
		out = appendHeaderLine(out, "traceparent", c.Traceparent)
	}
	if b.signer != nil {
		out = b.appendSigned(out, f, id, now)
	}
	f.out = append(append(out, "\r\n"...), f.body...)
	f.call = nil
	f.request = request{raw: f.out, closes: b.closes, f: f}
	return &f.request
}

func (b *builder) appendBody(body []byte, f *filling, id uint64) []byte {
	body = append(body, b.head...)
	if b.place == inBody {
		body = b.params.append(body, f, false)
	} else {
		body = b.template.append(body, f, b.layout)
	}
	body = append(body, b.tail...)
	if b.rpc {
		body = strconv.AppendUint(body, id, 10)
		body = append(body, '}')
	}
	return body
}

// appendSigned adds the Standard Webhooks headers for the body in f.body.
func (b *builder) appendSigned(out []byte, f *filling, id uint64, now time.Time) []byte {
	f.val = appendMessageID(f.val[:0], f.call.ID(), id)
	f.line = b.signer.appendSignatures(f.line[:0], view(f.val), now, f.body)
	out = appendHeaderLine(out, headerWebhookID, view(f.val))
	out = append(append(out, headerWebhookTimestamp...), ": "...)
	out = append(strconv.AppendInt(out, now.Unix(), 10), "\r\n"...)
	return appendHeaderLine(out, headerWebhookSignature, view(f.line))
}
