package console

import (
	"io"

	"github.com/valyala/fasthttp"
)

// The longest forms: one that anybody may send holds a token or a language; the others hold a scheme.
const (
	maxOpenForm = 16 << 10
	maxForm     = 1 << 20
	maxSkipped  = 2 << 20
)

// takeForm reads the form that was posted, up to limit bytes. It goes before any look at the form: the
// listener reads bodies as streams, and fasthttp would read the whole of one, however long, for a look.
func (v *visit) takeForm(limit int) error {
	from := v.http.RequestBodyStream()
	if from == nil {
		return nil
	}
	tooLarge := fault{status: fasthttp.StatusRequestEntityTooLarge, key: "fault.too_large"}
	if v.http.Request.Header.ContentLength() > limit {
		return tooLarge
	}
	b, err := io.ReadAll(io.LimitReader(from, int64(limit)+1))
	switch {
	case err != nil:
		return fault{status: fasthttp.StatusBadRequest, key: "fault.refused"}
	case len(b) > limit:
		return tooLarge
	}
	v.http.Request.SetBodyRaw(b)
	return nil
}

// skip reads on over some of a body that was not taken: closing on unread data resets the connection,
// and the answer may be lost with it (RFC 9112, 9.6). It is deferred.
func (v *visit) skip() {
	from := v.http.RequestBodyStream()
	if from == nil {
		return
	}
	if _, err := io.CopyN(io.Discard, from, maxSkipped); err != io.EOF {
		v.http.SetConnectionClose()
	}
}
