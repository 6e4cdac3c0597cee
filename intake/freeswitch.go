package intake

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// freeswitchDialect is for FreeSWITCH's mod_xml_curl, asked by its own form, unmodified. The answer
// is one line without a prolog, since FreeSWITCH drops every line that holds "<?". A fault is the
// not-found document, at which FreeSWITCH falls through to its next binding or its static XML.
var freeswitchDialect = dialect{
	contentType: "text/xml; charset=utf-8",
	read:        readFreeSWITCH,
	decision:    appendFreeSWITCH,
	fault: func(dst []byte, _ *question, _ *fault) []byte {
		return append(dst, `<document type="freeswitch/xml"><section name="result"><result status="not found"/></section></document>`...)
	},
	status: httpStatus,
	// Hunt-* is the profile being hunted, after a transfer for example; Caller-* what it began as.
	aliases: []alias{
		{"Hunt-Caller-ID-Number", schema.ParamCaller}, {"Caller-Caller-ID-Number", schema.ParamCaller},
		{"Hunt-ANI", schema.ParamCaller}, {"Caller-ANI", schema.ParamCaller},
		{"Hunt-Destination-Number", schema.ParamCallee}, {"Caller-Destination-Number", schema.ParamCallee},
		{"Hunt-Unique-ID", schema.ParamCallID}, {"Caller-Unique-ID", schema.ParamCallID},
		{"Unique-ID", schema.ParamCallID}, {"Channel-Call-UUID", schema.ParamCallID},
	},
}

// readFreeSWITCH reads the form, from a POST or a configured GET. Only the dialplan is ours.
func readFreeSWITCH(q *question, ctx *fasthttp.RequestCtx) *fault {
	if f := readBody(q, ctx); f != nil {
		return f
	}
	if section, ok := q.call.CustomValue("section"); ok && section != "dialplan" {
		return &fault{code: codeUnknownNumber, field: "section", message: "only the dialplan is served here"}
	}
	for name, into := range map[string]*string{"variable_hookswitch_cursor": &q.call.Cursor, "variable_hookswitch_project": &q.call.Project} {
		if v, ok := q.call.CustomValue(name); ok && *into == "" {
			*into = v
		}
	}
	return nil
}

// freeswitchCause is the hangup cause of a step.
var freeswitchCause = map[string]string{
	"busy": "USER_BUSY", "no_answer": "NO_ANSWER", "rejected": "CALL_REJECTED", "unallocated": "UNALLOCATED_NUMBER",
	"congestion": "NORMAL_TEMPORARY_FAILURE", "normal": "NORMAL_CLEARING",
}

// appendFreeSWITCH appends the extension that does all the steps.
func appendFreeSWITCH(dst []byte, q *question, d *schema.Decision) []byte {
	dst = append(dst, `<document type="freeswitch/xml"><section name="dialplan"><context name="`...)
	dst = appendXML(dst, q.context())
	dst = append(dst, `"><extension name="hookswitch"><condition>`...)
	if d.Next != "" || q.call.Cursor != "" {
		// Set even to nothing: the channel still has the last one.
		dst = appendAction(dst, "set", "hookswitch_cursor="+d.Next)
	}
	// A lone bridge needs no more: its own failure is the call's.
	alone := len(d.Steps) == 1 && d.Next == "" && len(d.Steps[0].Dial) > 0 && !sequential(&d.Steps[0])
	if !alone && d.FirstDial() != nil {
		dst = appendAction(dst, "set", "hangup_after_bridge=true")
		dst = appendAction(dst, "set", "continue_on_fail=true")
	}
	for i := range d.Steps {
		dst = appendFreeSWITCHStep(dst, &dialing(d).FreeSWITCH, &d.Steps[i])
	}
	switch last := d.Steps[len(d.Steps)-1]; {
	case d.Next != "":
		dst = appendAction(dst, "transfer", "${destination_number} XML ${context}")
	case !alone && len(last.Dial) > 0:
		dst = appendAction(dst, "hangup", "USER_BUSY")
	case last.Voicemail != "" || last.Playback != "":
		dst = appendAction(dst, "hangup", "NORMAL_CLEARING")
	}
	return append(dst, `</condition></extension></context></section></document>`...)
}

func appendFreeSWITCHStep(dst []byte, t *schema.DialTemplates, s *schema.DecidedStep) []byte {
	switch {
	case s.Voicemail != "":
		dst = appendAction(dst, "answer", "")
		return appendAction(dst, "voicemail", "default ${domain_name} "+freeswitchText(s.Voicemail))
	case s.Playback != "":
		dst = appendAction(dst, "answer", "")
		return appendAction(dst, "playback", freeswitchText(s.Playback))
	case s.Hangup != "":
		return appendAction(dst, "hangup", freeswitchCause[s.Hangup])
	}
	var bridges []string
	for i := range s.Dial {
		text := string(appendDial(nil, t, &s.Dial[i]))
		if freeswitchCan(text) {
			bridges = append(bridges, text)
		}
	}
	if len(bridges) == 0 {
		return dst
	}
	if !sequential(s) {
		bridges = []string{strings.Join(bridges, ",")}
	}
	// call_timeout is coarse, and fires up to 0.8 s early: hence one second more.
	dst = appendAction(dst, "set", "call_timeout="+strconv.FormatInt(seconds(s)+1, 10))
	dst = appendAction(dst, "set", "ignore_early_media=true") // else a leg's early media wins over the others
	if moh := freeswitchText(s.MOH); moh != "" {
		dst = appendAction(dst, "set", "ringback=local_stream://"+moh)
	}
	if announce := freeswitchText(s.Announce); announce != "" {
		dst = appendAction(dst, "set", "bridge_pre_execute_bleg_app=playback")
		dst = appendAction(dst, "set", "bridge_pre_execute_bleg_data="+announce)
	}
	for _, b := range bridges {
		dst = appendAction(dst, "bridge", b)
	}
	return dst
}

// freeswitchCan reports whether text can stand in the document: FreeSWITCH drops a line that holds
// this word, in any case, and the document is one line.
func freeswitchCan(text string) bool { return !strings.Contains(strings.ToLower(text), "x-pre-process") }

// freeswitchText makes text of the owner's harmless as data: what FreeSWITCH would expand, split at
// or drop the line for goes.
func freeswitchText(text string) string {
	if !freeswitchCan(text) {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune("${}\"<>\\,|[]'^", r) {
			return -1
		}
		return r
	}, text)
}

// context is the dialplan context to answer for: the asker's own, since another is not looked into;
// "global", which matches any, where it can't be written.
func (q *question) context() string {
	for _, name := range [...]string{"Hunt-Context", "Caller-Context"} {
		if v, ok := q.call.CustomValue(name); ok && v != "" {
			if v == freeswitchText(v) && len(v) <= 128 {
				return v
			}
			break
		}
	}
	return "global"
}

func appendAction(dst []byte, application, data string) []byte {
	dst = append(append(dst, `<action application="`...), application...)
	if data != "" {
		dst = append(dst, `" data="`...)
		dst = appendXML(dst, data)
	}
	return append(dst, `"/>`...)
}

// appendXML appends text for an attribute or an element, without what XML 1.0 cannot hold.
func appendXML(dst []byte, text string) []byte {
	for _, r := range text {
		switch {
		case r == '&':
			dst = append(dst, "&amp;"...)
		case r == '<':
			dst = append(dst, "&lt;"...)
		case r == '>':
			dst = append(dst, "&gt;"...)
		case r == '"':
			dst = append(dst, "&quot;"...)
		case r < ' ' || r == utf8.RuneError || r == 0xfffe || r == 0xffff:
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

