package intake

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// format is a dialect's place in the list.
type format uint8

// The list. A new dialect is a constant and a line in each of the two tables here, and a file.
const (
	formatJSON format = iota
	formatPlain
	formatJSONRPC
	formatAsterisk
	formatFreeSWITCH
	formatKamailio
	formatRustPBX
	formatTwiML
	formatJambonz

	formatCount
)

// formatNames are the dialects as a path, a parameter and a metric name them.
var formatNames = [formatCount]string{
	formatJSON: "json", formatPlain: "plain", formatJSONRPC: "json-rpc",
	formatAsterisk: "asterisk", formatFreeSWITCH: "freeswitch", formatKamailio: "kamailio",
	formatRustPBX: "rustpbx", formatTwiML: "twiml", formatJambonz: "jambonz",
}

var dialects = [formatCount]dialect{
	formatJSON: jsonDialect, formatPlain: plainDialect, formatJSONRPC: jsonRPCDialect,
	formatAsterisk: asteriskDialect, formatFreeSWITCH: freeswitchDialect, formatKamailio: kamailioDialect,
	formatRustPBX: rustpbxDialect, formatTwiML: twimlDialect, formatJambonz: jambonzDialect,
}

// dialect is one way in which PBXes ask and are answered.
type dialect struct {
	contentType string
	// read fills q from the request's body; the query has been read. readBody, but for a dialect
	// whose questions have a form of their own.
	read func(q *question, ctx *fasthttp.RequestCtx) *fault
	// decision and fault append the answer to dst. A decision that is NotFound comes as a fault.
	decision func(dst []byte, q *question, d *schema.Decision) []byte
	fault    func(dst []byte, q *question, f *fault) []byte
	// status is the HTTP status of a fault: httpStatus, but for a PBX that reads only 200.
	status func(f *fault) int
	// oneStep: such a PBX does one dial step, and asks again for what comes after it.
	oneStep bool
	// aliases are such a PBX's own names of parameters, the preferred one first.
	aliases []alias
	// signed checks the signature by which a question shows who sends it, in place of a token; nil
	// for a dialect without. set is false where the operator gave no secret to check it with.
	signed func(s *signatures, q *question, ctx *fasthttp.RequestCtx) (f *fault, set bool)
}

// formatNamed finds a dialect by its name.
func formatNamed(name []byte) (format, *fault) {
	for f := range formatNames {
		if string(name) == formatNames[f] {
			return format(f), nil
		}
	}
	return formatJSON, badField("format", "no such format; want "+strings.Join(formatNames[:], ", "))
}

// formatAccepted finds the dialect that an Accept header asks for: the first media type in it that
// is one dialect's own; ok is false where there is none. Weights are not read: no PBX was seen
// sending any.
func formatAccepted(accept []byte) (f format, ok bool) {
	for len(accept) > 0 {
		var media []byte
		media, accept, _ = bytes.Cut(accept, []byte(","))
		switch string(mediaType(media)) {
		case "application/json":
			return formatJSON, true
		case "text/plain":
			return formatPlain, true
		case "application/json-rpc":
			return formatJSONRPC, true
		}
	}
	return formatJSON, false
}

// formatOfAgent is the dialect of a PBX that says in nothing but its User-Agent who it is, JSON for
// all others: Asterisk's CURL() and FreeSWITCH's mod_xml_curl send "*/*" or no Accept at all.
func formatOfAgent(agent []byte) format {
	switch {
	case bytes.HasPrefix(agent, []byte("asterisk-libcurl-agent/")):
		return formatAsterisk
	case bytes.HasPrefix(agent, []byte("freeswitch-xml/")):
		return formatFreeSWITCH
	}
	return formatJSON
}

// mediaType drops a media type's parameters.
func mediaType(header []byte) []byte {
	media, _, _ := bytes.Cut(header, []byte(";"))
	return bytes.TrimSpace(media)
}
