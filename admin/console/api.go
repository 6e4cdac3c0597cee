package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"
)

// refusal is an answer of the API that is no success.
type refusal struct {
	Status  int                 `json:"-"`
	Message string              `json:"message"`
	Errors  map[string][]string `json:"errors"` // by field, "steps[0].dial[1]"
	retry   string              // after how many seconds to come back
}

func (r *refusal) Error() string { return fmt.Sprintf("the API answered %d: %s", r.Status, r.Message) }

// ask is one request to the API.
type ask struct {
	method, path string
	query        url.Values
	project      string // of the request; "" for none
	body         any    // sent as JSON; nil for none
	etag         string // that the thing must still have; "" for any
}

// got is what came back.
type got struct {
	body []byte
	etag string
}

// into reads the answer's JSON.
func (g *got) into(v any) error {
	d := json.NewDecoder(bytes.NewReader(g.body))
	d.UseNumber() // a number goes back as it came
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read the API's answer: %w", err)
	}
	return nil
}

// get asks the API for path and reads its answer into v.
func (v *visit) get(project, path string, query url.Values, into any) error {
	g, err := v.ask(ask{method: "GET", path: path, query: query, project: project})
	if err != nil {
		return err
	}
	return g.into(into)
}

// ask asks the API with the session's token. A token that opens nothing any more ends the session.
func (v *visit) ask(a ask) (*got, error) {
	g, err := v.askWith(v.session.token, a)
	var r *refusal
	if errors.As(err, &r) && r.Status == fasthttp.StatusUnauthorized {
		v.sessions.end(v.session)
		v.session = nil
	}
	return g, err
}

// askWith asks the API with a token. The error is a *refusal where the API refused.
func (v *visit) askWith(token secret, a ask) (*got, error) {
	var req fasthttp.Request
	req.Header.SetMethod(a.method)
	target := "/api/v1" + a.path
	if len(a.query) > 0 {
		target += "?" + a.query.Encode()
	}
	req.SetRequestURI(target)
	req.Header.SetHost("console")
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	if a.project != "" {
		req.Header.Set("Client", a.project)
	}
	if a.etag != "" {
		req.Header.Set("If-Match", a.etag)
	}
	var body []byte
	if a.body != nil {
		var err error
		if body, err = json.Marshal(a.body); err != nil {
			return nil, fmt.Errorf("write a request to the API: %w", err)
		}
		req.Header.SetContentType("application/json")
	}
	http := v.request(&req)
	if body != nil {
		http.Request.SetBodyStream(bytes.NewReader(body), len(body)) // the listener reads bodies as streams
	}
	v.api(http)
	return read(&http.Response)
}

// request makes a request to the API of one that came to us: over the same connection, as it were, so
// that the API counts failures to whom they belong.
func (v *visit) request(req *fasthttp.Request) *fasthttp.RequestCtx {
	http := &fasthttp.RequestCtx{}
	http.Init2(v.http.Conn(), v.http.Logger(), true)
	req.CopyTo(&http.Request)
	return http
}

func read(resp *fasthttp.Response) (*got, error) {
	g := &got{body: bytes.Clone(resp.Body()), etag: string(resp.Header.Peek("ETag"))}
	if status := resp.StatusCode(); status >= 300 {
		r := &refusal{Status: status, retry: string(resp.Header.Peek("Retry-After"))}
		if err := json.Unmarshal(g.body, r); err != nil {
			r.Message = "no answer that can be read"
		}
		return nil, r
	}
	return g, nil
}

// segment escapes one segment of a path.
func segment(s string) string { return url.PathEscape(s) }

// object is a JSON object of the API, which forms show and change by path.
type object map[string]any

// At returns what stands at a path of keys, "breaker.failures"; nil for nothing.
func (o object) At(path string) any {
	key, rest, more := strings.Cut(path, ".")
	value := o[key]
	if !more {
		return value
	}
	inner, _ := value.(map[string]any)
	return object(inner).At(rest)
}

// Text is At as text, "" for nothing.
func (o object) Text(path string) string {
	switch value := o.At(path).(type) {
	case nil:
		return ""
	case string:
		return value
	default:
		return fmt.Sprint(value)
	}
}

// List is At as a list of objects.
func (o object) List(path string) []object {
	items, _ := o.At(path).([]any)
	var all []object
	for _, item := range items {
		if inner, ok := item.(map[string]any); ok {
			all = append(all, inner)
		}
	}
	return all
}

// Strings is At as a list of texts.
func (o object) Strings(path string) []string {
	items, _ := o.At(path).([]any)
	all := make([]string, 0, len(items))
	for _, item := range items {
		all = append(all, fmt.Sprint(item))
	}
	return all
}

// set puts a value at a path; nil takes away what is there, so that the default holds.
func (o object) set(path string, value any) {
	key, rest, more := strings.Cut(path, ".")
	if !more {
		if value == nil {
			delete(o, key)
		} else {
			o[key] = value
		}
		return
	}
	inner, ok := o[key].(map[string]any)
	if !ok {
		if value == nil {
			return
		}
		inner = map[string]any{}
		o[key] = inner
	}
	object(inner).set(rest, value)
}
