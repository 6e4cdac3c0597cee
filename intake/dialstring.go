package intake

import (
	"strings"

	"hookswitch/schema"
)

// maxDialText bounds what appendDial appends: the longest template, user, host and port.
const maxDialText = 256 + schema.MaxDestinationLength

// appendDial appends a destination as the operator's templates write it for a PBX. Only what the
// destination's grammar allows is put between the braces, and the templates were checked when they
// were loaded, so no PBX finds a separator or an expression here that hookswitch did not write.
func appendDial(dst []byte, t *schema.DialTemplates, d *schema.Destination) []byte {
	text := t.Number
	switch d.Kind {
	case schema.KindSIP:
		text = t.SIP
	case schema.KindLogin:
		text = t.Login
	}
	for {
		before, rest, found := strings.Cut(text, "{{")
		dst = append(dst, before...)
		if !found {
			return dst
		}
		var tag string
		tag, text, _ = strings.Cut(rest, "}}")
		if strings.TrimSpace(tag) == "host" {
			dst = d.AppendHostPort(dst)
		} else { // number, user or login
			dst = append(dst, d.User...)
		}
	}
}

// dialing returns the templates of a decision; the installation's defaults where it has none.
func dialing(d *schema.Decision) *schema.Dialing {
	if d.Dialing != nil {
		return d.Dialing
	}
	return &defaultDialing
}

var defaultDialing = func() schema.Dialing {
	var c schema.Config
	c.SetDefaults()
	return c.Dial
}()

// sequential reports whether a step's destinations are rung one after the other. Random and round
// robin have been settled: their destinations stand in the order to try.
func sequential(s *schema.DecidedStep) bool {
	return len(s.Dial) > 1 && s.Strategy != schema.All
}

// firstOther returns the first step that does not dial, nil where all do.
func firstOther(d *schema.Decision) *schema.DecidedStep {
	for i := range d.Steps {
		if len(d.Steps[i].Dial) == 0 {
			return &d.Steps[i]
		}
	}
	return nil
}

// seconds is a ring timeout in whole seconds, at least 1.
func seconds(s *schema.DecidedStep) int64 { return max(1, int64(s.Timeout.Seconds())) }

// sipStatus is the SIP status that a caller gets for a hangup step, by cause.
var sipStatus = map[string]string{
	"busy": "486", "no_answer": "480", "rejected": "603", "unallocated": "404", "congestion": "503", "normal": "480",
}

// alias is a PBX's own name of a parameter.
type alias struct {
	name  string
	param schema.Param
}

// adopt gives parameters that the question did not name the values of a PBX's own names for them.
// The first name of a parameter that has a value counts. Of the two numbers the blanks around go: a
// "+" that the dialplan did not escape has become one.
func (q *question) adopt(aliases []alias) {
	for _, a := range aliases {
		if q.call.Get(a.param) != "" && q.call.Said(a.param) {
			continue
		}
		if v, ok := q.call.CustomValue(a.name); ok && v != "" {
			q.call.SetString(a.param, v)
		}
	}
	for _, p := range [...]schema.Param{schema.ParamCaller, schema.ParamCallee} {
		if v := q.call.Get(p); q.call.Said(p) && (strings.HasPrefix(v, " ") || strings.HasSuffix(v, " ")) {
			q.call.SetString(p, strings.Trim(v, " "))
		}
	}
}
