package intake

import "hookswitch/schema"

// Render writes a decision about call as the dialect of that name would answer it, for who wants to see
// what a PBX gets. known is false where there is no such dialect.
func Render(name string, call *schema.Call, d *schema.Decision) (contentType string, body []byte, known bool) {
	f, fault := formatNamed([]byte(name))
	if fault != nil {
		return "", nil, false
	}
	dialect := &dialects[f]
	q := &question{call: *call, asked: asked{format: f}}
	if d.NotFound {
		return dialect.contentType, dialect.fault(nil, q, notFound()), true
	}
	return dialect.contentType, dialect.decision(nil, q, d), true
}
