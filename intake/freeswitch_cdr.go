package intake

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// FreeSWITCH's mod_json_cdr posts a document about each leg when it is over: channel_data, variables
// (all of the channel's, by name), callflow (the profiles that the call has had, the first one last).
// Its setting "encode" says how: not at all, as application/json or, in older ones, as
// application/x-www-form-plaintext; URL-encoded; or in base64; the two latter as "cdr=…". Its setting
// encode-values, which is on, has the variables' values URL-encoded within the document.

// cdrOf returns the CDR in a request's body, nil where there is something else.
func cdrOf(q *question, ctx *fasthttp.RequestCtx) ([]byte, *fault) {
	body := ctx.PostBody()
	inForm, isForm := bytes.CutPrefix(body, []byte("cdr="))
	document := body
	switch media := mediaType(ctx.Request.Header.ContentType()); string(bytes.ToLower(media)) {
	case "application/x-www-form-base64-encoded":
		document = make([]byte, base64.StdEncoding.DecodedLen(len(inForm)))
		// FreeSWITCH breaks the text into lines, which the decoder passes over.
		n, err := base64.StdEncoding.Decode(document, inForm)
		if !isForm || err != nil {
			return nil, badField("cdr", "want base64 of a CDR's JSON")
		}
		document = document[:n]
	case "application/x-www-form-plaintext":
		document = bytes.TrimPrefix(body, []byte("cdr="))
	case "application/x-www-form-urlencoded":
		if isForm {
			q.scratch = q.scratch[:0]
			document = q.unescaped(inForm)
		} else if firstByte(body) != '{' {
			return nil, nil
		}
	case "application/json", "":
	default:
		return nil, nil
	}
	isCDR := firstByte(document) == '{' && validJSON(document, '{') == nil && looksCDR(document)
	switch {
	case isCDR:
		return document, nil
	case isForm:
		return nil, badField("cdr", "want a CDR's JSON, with variables and callflow")
	}
	return nil, nil
}

// looksCDR tells a CDR from an event with a parameter called variables.
func looksCDR(document []byte) bool {
	found := gjson.GetManyBytes(document, "variables", "callflow", "channel_data")
	return found[0].IsObject() && (found[1].IsArray() || found[2].IsObject())
}

// readCDR takes a CDR for the end of its call: times and numbers under the catalogue's names, and the
// cause of the hangup. It returns the channel's variables, each called variable_NAME, as in the form of
// mod_xml_curl; one that is too long, as an SDP can be, is left out.
func (q *question) readCDR(document []byte) (channel []schema.Custom) {
	if _, given := q.call.CustomValue("event"); !given {
		q.setNamed([]byte("event"), []byte("destroy"))
	}
	variables := map[string]string{}
	gjson.GetBytes(document, "variables").ForEach(func(name, value gjson.Result) bool {
		text := cdrValue(value)
		variables[name.Str] = text
		full := channelVariable + name.Str
		if len(channel) < maxChannelVariables && text != "" && len(full) <= maxName && len(text) <= maxValue {
			channel = append(channel, schema.Custom{Name: owned(full), Value: owned(text)})
		}
		return true
	})
	profile := func(name string) string {
		// The first profile is what the call began with; later ones come of transfers.
		flow := gjson.GetBytes(document, "callflow").Array()
		if len(flow) == 0 {
			return ""
		}
		return flow[len(flow)-1].Get("caller_profile." + name).String()
	}
	for _, v := range []struct{ name, value string }{
		{"callid", variables["uuid"]}, {"direction", variables["direction"]},
		{"caller", profile("caller_id_number")}, {"callee", profile("destination_number")},
		{"date", variables["start_stamp"]}, {"duration", variables["duration"]}, {"talktime", variables["billsec"]},
		{"waittime", waitTime(variables)}, {"hangup_cause", variables["hangup_cause"]},
	} {
		if v.value != "" && len(v.value) <= maxValue {
			q.setNamed([]byte(v.name), []byte(v.value))
		}
	}
	if project := variables["hookswitch_project"]; q.call.Project == "" {
		q.call.Project = q.call.Keep([]byte(project))
	}
	return channel
}

const (
	channelVariable = "variable_"
	// maxChannelVariables bounds them; a call was seen with 170.
	maxChannelVariables = 400
)

// waitTime is how long the caller waited: to the answer, which waitsec says, or in vain.
func waitTime(variables map[string]string) string {
	whole, err1 := strconv.Atoi(variables["duration"])
	talk, err2 := strconv.Atoi(variables["billsec"])
	if err1 != nil || err2 != nil || talk > whole || talk < 0 {
		return ""
	}
	return strconv.Itoa(whole - talk)
}

// cdrValue is a variable's value as text, its URL encoding undone where it has one. What FreeSWITCH
// encodes leaves none of these characters, so a value that holds one is not encoded (switch_url_encode).
func cdrValue(value gjson.Result) string {
	text := value.Raw
	switch value.Type {
	case gjson.String:
		text = value.Str
	case gjson.Null:
		text = ""
	}
	if !strings.Contains(text, "%") || strings.ContainsAny(text, "\r\n \"#&+:;<=>?@[\\]^`{|}") {
		return text
	}
	plain, err := url.PathUnescape(text)
	if err != nil {
		return text
	}
	return plain
}
