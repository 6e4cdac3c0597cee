package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// etag is a project's strong entity tag (RFC 9110, 8.8.3), and that of everything in it: its version,
// which every change of the project changes, and no two configurations of it share.
func etag(project string, version uint64) string { return fmt.Sprintf(`"%s.%d"`, project, version) }

// etagOf is the tag of an answer that has no version.
func etagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

// matches reports whether a header If-Match or If-None-Match names the tag. A weak tag matches
// nothing: there are none here.
func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimSpace(one); one == "*" || one == tag {
			return true
		}
	}
	return false
}

// expected returns the version that a write is to change: that of the project as it is now where the
// request has an If-Match that names it, 0 for any where it has none. It fails where the project has
// changed since.
func (r *request) expected(p *schema.Project) (uint64, error) {
	header := r.header("If-Match")
	switch {
	case header == "":
		return 0, nil
	case strings.TrimSpace(header) == "*": // any version, so long as there is one
		return 0, nil
	case matches(header, etag(p.ID, p.Version)):
		return p.Version, nil
	}
	return 0, behind(refusal{status: fasthttp.StatusPreconditionFailed, message: "it was changed by another since you got it: get it again, then decide"})
}

// tag gives a GET's answer its entity tag, and takes its body back where the client has it already.
func (r *request) tag() {
	response := &r.http.Response
	if response.StatusCode() != fasthttp.StatusOK || response.IsBodyStream() {
		return
	}
	if len(response.Header.Peek("ETag")) == 0 {
		response.Header.Set("ETag", etagOf(response.Body()))
	}
	if header := r.header("If-None-Match"); header != "" && matches(header, string(response.Header.Peek("ETag"))) {
		response.ResetBody()
		response.SetStatusCode(fasthttp.StatusNotModified)
	}
}
