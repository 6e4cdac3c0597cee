package console

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"

	"github.com/valyala/fasthttp"
)

// teller makes of an event's data what the browser gets of it, as JSON; nil for nothing new.
type teller = func(v *visit, data []byte) (any, error)

// stream passes a stream of the API's on, from the event called after on. It ends with the session, with
// the API's, or when the browser goes away.
func (v *visit) stream(path string, q url.Values, after string, tell teller) error {
	var req fasthttp.Request
	req.SetRequestURI("/api/v1" + path + "?" + q.Encode())
	req.Header.SetHost("console")
	req.Header.Set("Authorization", "Bearer "+v.session.token.Reveal())
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	http := v.request(&req)
	v.api(http)
	if http.Response.StatusCode() != fasthttp.StatusOK {
		_, err := read(&http.Response)
		if err == nil {
			err = fmt.Errorf("the API's stream answered %d", http.Response.StatusCode())
		}
		v.http.Request.Header.Set("X-Requested-By", "script") // a page is of no use to an EventSource
		return err
	}
	v.http.SetContentType("text/event-stream")
	v.http.Response.Header.Set("X-Accel-Buffering", "no")
	kept := &visit{Console: v.Console, lang: v.lang, session: v.session} // without http, which ends here
	v.http.SetBodyStreamWriter(func(w *bufio.Writer) {
		defer http.Response.CloseBodyStream()
		kept.pass(w, http.Response.BodyStream(), tell)
	})
	return nil
}

// maxEvent bounds one event of the API's; a decision is a few kilobytes, an overview some forty.
const maxEvent = 256 << 10

// pass writes events as they come in. One that loses its data is none (HTML, 9.2.6).
func (v *visit) pass(w *bufio.Writer, from io.Reader, tell teller) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		line := lines.Bytes()
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			if told, err := tell(v, data); err == nil && told != nil {
				if b, err := json.Marshal(told); err == nil {
					fmt.Fprintf(w, "data: %s\n", b)
				}
			}
			continue
		}
		w.Write(line)
		w.WriteByte('\n')
		if len(line) > 0 {
			continue
		}
		if !v.sessions.alive(v.session) {
			fmt.Fprint(w, "event: gone\ndata: {}\n\n")
			w.Flush()
			return
		}
		if w.Flush() != nil {
			return
		}
	}
}
