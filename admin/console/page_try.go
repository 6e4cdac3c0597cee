package console

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// Trying a call: a question that no PBX asked, of the real webhook or of an answer pasted here, and the
// walk that came of it. The API leaves no trace of it.

// paramGroup is some of the catalogue's parameters under one heading.
type paramGroup struct {
	Name   string
	Params []schema.Param
}

// paramGroups are all of the catalogue's parameters as the form shows them; those that no group names are
// the rarer ones.
func paramGroups() []paramGroup {
	groups := []paramGroup{
		{"call", []schema.Param{schema.ParamCaller, schema.ParamCallee, schema.ParamCallID, schema.ParamIVRNum, schema.ParamFullNum, schema.ParamE164, schema.ParamAddNumID, schema.ParamOutboundNumber}},
		{"caller", []schema.Param{schema.ParamCallnum, schema.ParamUniqueFirst, schema.ParamRepeatedFlag, schema.ParamProperFlag, schema.ParamRecord, schema.ParamManagers, schema.ParamStaffID, schema.ParamEmployeeFIO, schema.ParamDepartment, schema.ParamAgentID}},
		{"visit", []schema.Param{schema.ParamSource, schema.ParamMedium, schema.ParamCampaign, schema.ParamTerm, schema.ParamContent, schema.ParamReplaceType, schema.ParamPool, schema.ParamUserUUID, schema.ParamUserIP, schema.ParamUserAgent, schema.ParamLastPage, schema.ParamLanding, schema.ParamGAID, schema.ParamRoistat, schema.ParamCustom}},
		{"rarer", nil},
	}
	var named [schema.ParamCount]bool
	for _, g := range groups {
		for _, p := range g.Params {
			named[p] = true
		}
	}
	rarer := &groups[len(groups)-1]
	for p := range schema.ParamCount {
		if !named[p] {
			rarer.Params = append(rarer.Params, p)
		}
	}
	return groups
}

// tried is what the form holds.
type tried struct {
	Values  map[string]string // catalogue parameters, by name
	Custom  string            // others, one "name: value" a line
	Target  string            // number, hook or schema: what is asked
	Hook    string
	Schema  string
	Answer  string // hook or pasted
	Status  string
	Headers string
	Body    string
	Format  string
	Budget  string
	Cursor  string // of a call that goes on where it was left
}

// explanation is the API's answer.
type explanation struct {
	Decision decided `json:"decision"`
	Story    *story  `json:"story"`
	Rendered *struct {
		ContentType string `json:"content_type"`
		Body        string `json:"body"`
	} `json:"rendered"`
	Answer json.RawMessage `json:"answer"`
}

// tryPage shows the form, filled in by the URL.
func (v *visit) tryPage() error {
	project, err := v.project()
	if err != nil {
		return err
	}
	if project == "" {
		return v.redirect("/projects")
	}
	t := tried{Values: map[string]string{}, Target: "number", Answer: "hook", Format: "json"}
	var custom []string
	for key, value := range v.http.QueryArgs().All() {
		name, text := string(key), string(value)
		if _, known := schema.ParamNamedString(name); known {
			t.Values[name] = text
			continue
		}
		switch name {
		case "hook":
			t.Target, t.Hook = "hook", text
		case "schema":
			if t.Schema = text; t.Hook == "" { // as a lookup with both is read
				t.Target = "schema"
			}
		case "cursor":
			t.Cursor = text
		case "budget_ms":
			t.Budget = text
		case "project":
		default:
			custom = append(custom, name+": "+text)
		}
	}
	t.Custom = strings.Join(custom, "\n")
	return v.tryWith(fasthttp.StatusOK, project, t, nil, nil)
}

// tryCall asks, and shows what came of it.
func (v *visit) tryCall() error {
	project, err := v.postedProject()
	if err != nil {
		return err
	}
	t := v.tried()
	g, err := v.ask(ask{method: "POST", path: "/explain", project: project, body: t.request()})
	if wrong := wrongFields(err); wrong != nil {
		return v.tryWith(fasthttp.StatusUnprocessableEntity, project, t, nil, wrong)
	}
	if err != nil {
		return err
	}
	var e explanation
	if err := g.into(&e); err != nil {
		return err
	}
	return v.tryWith(fasthttp.StatusOK, project, t, &e, nil)
}

// tried reads the form.
func (v *visit) tried() tried {
	t := tried{
		Values: map[string]string{}, Custom: v.form("custom"), Target: v.form("target"), Hook: v.form("hook"), Schema: v.form("schema"),
		Answer: v.form("answer"), Status: strings.TrimSpace(v.form("status")), Headers: v.form("headers"), Body: v.form("body"),
		Format: v.form("format"), Budget: strings.TrimSpace(v.form("budget_ms")), Cursor: v.form("cursor"),
	}
	for p := schema.Param(0); p < schema.ParamCount; p++ {
		if value := v.form("p." + p.Name()); value != "" {
			t.Values[p.Name()] = value
		}
	}
	return t
}

// request is the form as the API takes it. What is no number goes as text, for the API to say so.
func (t *tried) request() map[string]any {
	params := map[string]any{}
	for _, line := range lines(t.Custom) {
		name, value := cut(line)
		params[name] = value
	}
	for name, value := range t.Values {
		params[name] = value
	}
	body := map[string]any{"params": params}
	if t.Format != "json" { // which the answer has anyway
		body["format"] = t.Format
	}
	switch t.Target {
	case "hook":
		body["hook"] = t.Hook
	case "schema":
		body["schema"] = t.Schema
	}
	if t.Cursor != "" {
		body["cursor"] = t.Cursor
	}
	if t.Budget != "" {
		body["budget_ms"] = numberOrText(t.Budget)
	}
	if t.Answer == "pasted" {
		headers := map[string]string{}
		for _, line := range lines(t.Headers) {
			name, value := cut(line)
			headers[name] = value
		}
		answer := map[string]any{"body": t.Body, "headers": headers}
		if t.Status != "" {
			answer["status"] = numberOrText(t.Status)
		}
		body["answer"] = answer
	}
	return body
}

// indented is JSON as people read it.
func indented(text json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, text, "", "  ") != nil {
		return string(text)
	}
	return b.String()
}

func numberOrText(text string) any {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return text
}

func (v *visit) tryWith(status int, project string, t tried, e *explanation, wrong map[string][]string) error {
	hooks, err := v.optionsOf("hooks", project)
	if err != nil {
		return err
	}
	schemes, err := v.optionsOf("schemas", project)
	if err != nil {
		return err
	}
	problems := newEditor("try", nil, nil, wrong)
	data := map[string]any{
		"T": t, "Groups": paramGroups(), "Options": map[string][]option{"hooks": hooks, "schemas": schemes}, "Formats": schema.IntakeFormats, "Problems": problems, "Told": nil,
	}
	if e != nil {
		data["Told"] = v.told(&e.Decision, e.Story)
		data["Walk"] = v.walk(e, project)
		data["Rendered"] = indented(e.Answer)
		if e.Rendered != nil {
			data["Rendered"] = e.Rendered.Body
		}
	}
	return v.render(status, page{Name: "try", Nav: "try", Project: project, Data: data})
}
