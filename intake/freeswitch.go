package intake

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// freeswitchDialect is for FreeSWITCH's mod_xml_curl, asked by its own form, unmodified. The answer
// is one line without a prolog, since FreeSWITCH drops every line that holds "<?". A fault is the
// not-found document, at which FreeSWITCH falls through to its next binding or its static XML; that
// a number is nobody's is no fault to FreeSWITCH, which logs an error at any status but 200.
var freeswitchDialect = dialect{
	contentType: "text/xml; charset=utf-8",
	read:        readFreeSWITCH,
	decision:    appendFreeSWITCH,
	fault:       func(dst []byte, _ *question, _ *fault) []byte { return append(dst, freeswitchNotFound...) },
	status: func(f *fault) int {
		if f.code == codeUnknownNumber {
			return fasthttp.StatusOK
		}
		return httpStatus(f)
	},
	// Hunt-* is the profile being hunted, after a transfer for example; Caller-* what it began as.
	aliases: []alias{
		{"Hunt-Caller-ID-Number", schema.ParamCaller}, {"Caller-Caller-ID-Number", schema.ParamCaller},
		{"Hunt-ANI", schema.ParamCaller}, {"Caller-ANI", schema.ParamCaller},
		{"Hunt-Destination-Number", schema.ParamCallee}, {"Caller-Destination-Number", schema.ParamCallee},
		{"Hunt-Unique-ID", schema.ParamCallID}, {"Caller-Unique-ID", schema.ParamCallID},
		{"Unique-ID", schema.ParamCallID}, {"Channel-Call-UUID", schema.ParamCallID},
	},
}

const freeswitchNotFound = `<document type="freeswitch/xml"><section name="result"><result status="not found"/></section></document>`

// readFreeSWITCH reads the form, from a POST or a configured GET. Only the dialplan is ours.
func readFreeSWITCH(q *question, ctx *fasthttp.RequestCtx) *fault {
	if f := readBody(q, ctx); f != nil {
		return f
	}
	if section, ok := q.call.CustomValue("section"); ok && section != "dialplan" {
		return &fault{code: codeUnknownNumber, field: "section", message: "only the dialplan is served here"}
	}
	if q.call.Cursor == "" {
		q.call.Cursor, _ = q.call.CustomValue("variable_hookswitch_cursor")
	}
	if q.call.Project == "" {
		q.call.Project, _ = q.call.CustomValue("variable_hookswitch_project")
	}
	return nil
}

// setFreeSWITCH takes a field that FreeSWITCH sends of itself, and reports whether it is one:
// Caller-Context, variable_sip_call_id. Of a call's 100 to 300 such fields a webhook gets only those
// that it asks for. One that is too long, as the variable of a browser's SDP can be, is left out, and so is
// one too many.
func (q *question) setFreeSWITCH(name, value []byte) bool {
	variable, own := bytes.CutPrefix(name, []byte("variable_"))
	switch string(name) {
	case "hostname", "section", "tag_name", "key_name", "key_value":
		own = true
	}
	_, ours := schema.ParamNamed(name)
	if ours || !own && (len(name) == 0 || name[0] < 'A' || name[0] > 'Z') {
		return false
	}
	if q.tooLong(name, value) {
		return true
	}
	if !q.call.SetChannel(name, value) && needed(name) {
		q.call.SetNeeded(name, value)
	}
	if header, ok := bytes.CutPrefix(variable, []byte("sip_")); ok {
		header = bytes.TrimPrefix(header, []byte("h_"))
		if string(header) == "history_info" {
			header = []byte("History-Info")
		}
		if param := sipHeaderParam(string(header)); param != "" {
			q.setNamed([]byte(param), value)
		}
	}
	return true
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

// freeswitchCause is the hangup cause of a step.
var freeswitchCause = map[string]string{
	"busy": "USER_BUSY", "no_answer": "NO_ANSWER", "rejected": "CALL_REJECTED", "unallocated": "UNALLOCATED_NUMBER",
	"congestion": "NORMAL_TEMPORARY_FAILURE", "normal": "NORMAL_CLEARING",
}

// appendFreeSWITCH appends the extension that does all the steps. Where nothing of them can be
// written that is the not-found document, since an extension without action ends the call.
func appendFreeSWITCH(dst []byte, q *question, d *schema.Decision) []byte {
	begin := len(dst)
	dst = append(dst, `<document type="freeswitch/xml"><section name="dialplan"><context name="`...)
	dst = appendXML(dst, q.context())
	dst = append(dst, `"><extension name="hookswitch"><condition>`...)
	continued := q.call.Cursor != ""
	if d.Next != "" || continued {
		// Set even to nothing: the channel still has the last one.
		dst = appendAction(dst, "set", "hookswitch_cursor="+d.Next)
	}
	// A lone bridge needs no more: its own failure is the call's.
	alone := len(d.Steps) == 1 && len(d.Steps[0].Dial) > 0 && d.Next == "" && !continued && !sequential(&d.Steps[0])
	if !alone && d.FirstDial() != nil {
		dst = appendAction(dst, "set", "hangup_after_bridge=true")
		dst = appendAction(dst, "set", "continue_on_fail=true")
	}
	before, again, end := len(dst), continued, ""
	for i := range d.Steps {
		s := &d.Steps[i]
		dst = appendFreeSWITCHStep(dst, &dialing(d).FreeSWITCH, s, again)
		switch {
		case len(s.Dial) > 0:
			again, end = true, "USER_BUSY"
		case s.Hangup != "":
			end = ""
		default:
			end = "NORMAL_CLEARING"
		}
	}
	switch {
	case d.Next != "":
		dst = appendAction(dst, "transfer", "${destination_number} XML ${context}")
	case len(dst) == before:
		return append(dst[:begin], freeswitchNotFound...)
	case end != "" && !alone:
		dst = appendAction(dst, "hangup", end)
	}
	return append(dst, `</condition></extension></context></section></document>`...)
}

// appendFreeSWITCHStep appends the actions of a step, or nothing where none of it can be written.
// again: the channel may have variables of an earlier dial step.
func appendFreeSWITCHStep(dst []byte, t *schema.DialTemplates, s *schema.DecidedStep, again bool) []byte {
	if s.Hangup != "" {
		return appendAction(dst, "hangup", freeswitchCause[s.Hangup])
	}
	if file := freeswitchText(s.Playback); file != "" {
		return appendAction(appendAction(dst, "answer", ""), "playback", file)
	}
	if id, domain, _ := strings.Cut(strings.ReplaceAll(freeswitchText(s.Voicemail), " ", ""), "@"); id != "" {
		if domain == "" {
			domain = "${domain_name}"
		}
		return appendAction(appendAction(dst, "answer", ""), "voicemail", "default "+domain+" "+id)
	}
	bridges := freeswitchBridges(t, s)
	if len(bridges) == 0 {
		return dst
	}
	// call_timeout is coarse, and fires up to 0.8 s early: hence one second more.
	dst = appendAction(dst, "set", "call_timeout="+strconv.FormatInt(seconds(s)+1, 10))
	if !sequential(s) {
		dst = appendAction(dst, "set", "ignore_early_media=true") // else a leg's early media wins over the others
	}
	ringback, announce, player := freeswitchText(s.MOH), freeswitchText(s.Announce), ""
	if ringback != "" {
		ringback = "local_stream://" + ringback
	}
	if announce != "" {
		player = "playback"
	}
	for _, v := range [...]struct{ name, value string }{
		{"ringback=", ringback}, {"bridge_pre_execute_bleg_app=", player}, {"bridge_pre_execute_bleg_data=", announce},
	} {
		if v.value != "" || again {
			dst = appendAction(dst, "set", v.name+v.value)
		}
	}
	for _, b := range bridges {
		dst = appendAction(dst, "bridge", b)
	}
	return dst
}

// freeswitchBridges returns what a dial step bridges to, one after the other.
func freeswitchBridges(t *schema.DialTemplates, s *schema.DecidedStep) []string {
	var bridges []string
	for i := range s.Dial {
		if text := string(appendDial(nil, t, &s.Dial[i])); freeswitchCan(text) {
			bridges = append(bridges, text)
		}
	}
	if len(bridges) > 1 && !sequential(s) {
		return []string{strings.Join(bridges, ",")}
	}
	return bridges
}

// freeswitchCan reports whether text can stand in the document: FreeSWITCH drops a line that holds
// this word, in any case, and the document is one line.
func freeswitchCan(text string) bool {
	return !strings.Contains(strings.ToLower(text), "x-pre-process")
}

// freeswitchText makes text of the owner's harmless as data: what FreeSWITCH would expand, split at
// or drop the line for goes.
func freeswitchText(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == 0x7f || strings.ContainsRune("${}\"<>\\,|[]'^", r) || !isXML(r) {
			return -1
		}
		return r
	}, text)
	if !freeswitchCan(text) {
		return ""
	}
	return text
}

func appendAction(dst []byte, application, data string) []byte {
	dst = append(append(dst, `<action application="`...), application...)
	if data != "" {
		dst = append(dst, `" data="`...)
		dst = appendXML(dst, data)
	}
	return append(dst, `"/>`...)
}

// appendXML appends text for an attribute or an element, without what XML 1.0 cannot hold and
// without control characters.
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
		case isXML(r):
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

func isXML(r rune) bool { return r >= ' ' && r != utf8.RuneError && r != 0xfffe && r != 0xffff }
