package intake

import "hookswitch/schema"

// plainDialect is for a dialplan that can read one word: the destinations of the first dial step,
// comma-separated, alone, without so much as a line end; empty where no step dials.
var plainDialect = dialect{
	contentType: "text/plain; charset=utf-8",
	read:        readBody,
	decision: func(dst []byte, _ *question, d *schema.Decision) []byte {
		return appendFirstDial(dst, d)
	},
	fault:  appendFaultPlain,
	status: httpStatus,
}

// appendFaultPlain appends "error: CODE: FIELD: MESSAGE" on one line, FIELD where there is one. The
// blank and the colons keep it from being taken for something to dial.
func appendFaultPlain(dst []byte, _ *question, f *fault) []byte {
	dst = append(dst, "error: "...)
	dst = append(dst, f.code.String()...)
	dst = append(dst, ": "...)
	if f.field != "" && printable(f.field) { // a foreign name must not break the line
		dst = append(dst, f.field...)
		dst = append(dst, ": "...)
	}
	return append(dst, f.message...)
}
