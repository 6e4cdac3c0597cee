package console

import (
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// The pages about the installation: projects, tokens, and who changed what.

// projects lists those that the token may see, and makes new ones.
func (v *visit) projects() error {
	return v.projectsPage(fasthttp.StatusOK, nil, object{})
}

func (v *visit) projectsPage(status int, wrong map[string][]string, sent object) error {
	q := url.Values{"per_page": {strconv.Itoa(listPage)}, "page": {orOne(v.query("page"))}}
	if text := v.query("q"); text != "" {
		q.Set("q", text)
	}
	var found paged
	if err := v.get("", "/projects", q, &found); err != nil {
		return err
	}
	e := newEditor("projects", newProject(), sent, wrong)
	return v.render(status, page{Name: "projects", Nav: "projects", Data: map[string]any{
		"Items": found, "Query": v.query("q"), "Previous": found.Current - 1, "Next": nextPage(found), "Editor": e,
	}})
}

// newProject is the form of a project's making. A project needs a default scheme, and nobody has one before
// there is a project: so the form asks what it shall ring.
func newProject() []section {
	return []section{{Name: "what", Fields: []field{
		{Path: "id", As: asText, Needed: true}, {Path: "name", As: asText}, {Path: "fallback", As: asLines},
	}}}
}

// fallbackScheme is the id and the name of the default scheme that a new project is given.
const fallbackScheme = "default"

// withFallback returns a new project as the API takes it, its default scheme made of what the form asked for.
func withFallback(form object) object {
	o := maps.Clone(form)
	delete(o, "fallback")
	if list, _ := form["fallback"].([]string); len(list) > 0 {
		o["default_schema"] = fallbackScheme
		o["schemas"] = []any{map[string]any{
			"id": fallbackScheme, "name": fallbackScheme, "steps": []any{map[string]any{"dial": list}},
		}}
	}
	return o
}

// ofFallback turns the faults of a default scheme into those of the field that it was made of.
func ofFallback(wrong map[string][]string) map[string][]string {
	all := map[string][]string{}
	for at, faults := range wrong {
		if at == "default_schema" || strings.HasPrefix(at, "schemas") {
			at = "fallback"
		}
		all[at] = append(all[at], faults...)
	}
	return all
}

// projectSections is the form of a project's own settings, its lists left out.
func projectSections() []section {
	return []section{
		{Name: "what", Fields: []field{
			{Path: "name", As: asText},
			{Path: "default_schema", As: asOne, From: "schemas"},
			{Path: "tz", As: asText},
			{Path: "allow_private_hooks", As: asCheck},
		}},
		{Name: "destinations", Fields: []field{
			{Path: "destinations.allow", As: asLines},
			{Path: "destinations.deny", As: asLines},
			{Path: "destinations.max", As: asNumber},
			{Path: "destinations.region", As: asText},
		}},
	}
}

// createProject makes a project that the API manages.
func (v *visit) createProject() error {
	o := object{}
	v.take(newProject(), o, true)
	_, err := v.ask(ask{method: "POST", path: "/projects", body: withFallback(o)})
	if wrong := wrongFields(err); wrong != nil {
		return v.projectsPage(fasthttp.StatusUnprocessableEntity, ofFallback(wrong), o)
	}
	if err != nil {
		return err
	}
	v.sessions.choose(v.session, o.Text("id"))
	return v.redirect("/p/" + segment(o.Text("id")) + "/schemas?done=created")
}

// projectPath is the API's path of the project that the page is about.
func (v *visit) projectPath() string { return "/projects/" + segment(v.args["id"]) }

// projectPage shows a project's settings.
func (v *visit) projectPage() error {
	o, etag, err := v.oneProject()
	if err != nil {
		return err
	}
	return v.editProject(fasthttp.StatusOK, v.args["id"], o, nil, etag)
}

// oneProject gets the settings of the project that the page is about, without its lists.
func (v *visit) oneProject() (o object, etag string, err error) {
	g, err := v.ask(ask{method: "GET", path: v.projectPath(), query: url.Values{"lists": {"none"}}})
	if err != nil {
		return nil, "", err
	}
	err = g.into(&o)
	return o, g.etag, err
}

func (v *visit) editProject(status int, id string, o object, wrong map[string][]string, etag string) error {
	e := newEditor("projects", projectSections(), o, wrong)
	e.ETag, e.Locked = etag, o.Text("read_only") != "" || !v.session.may("admin")
	all, err := v.optionsOf("schemas", id)
	if err != nil {
		return err
	}
	e.Options = map[string][]option{"schemas": all}
	e.finish()
	v.sessions.choose(v.session, id)
	return v.render(status, page{
		Name: "edit", Title: v.texts.get(v.lang, "one.projects", id), Nav: "projects", Project: id, ReadOnly: o.Text("read_only"),
		Data: map[string]any{
			"Editor": e, "Base": "/projects", "ID": id, "Kind": "projects", "Self": "/projects/" + segment(id), "Flow": (*flow)(nil), "Figures": nil, "Failing": nil,
		},
	})
}

// updateProject changes a project's settings; its lists, which are not sent, stay as they are.
func (v *visit) updateProject() error {
	id := v.args["id"]
	o, _, err := v.oneProject()
	if err != nil {
		return err
	}
	readOnly := o.Text("read_only")
	for _, key := range []string{"version", "read_only", "fault"} {
		delete(o, key)
	}
	v.take(projectSections(), o, false)
	etag := v.form("etag")
	_, err = v.ask(ask{method: "PUT", path: v.projectPath(), body: o, etag: etag})
	if wrong := wrongFields(err); wrong != nil {
		o["read_only"] = readOnly
		return v.editProject(fasthttp.StatusUnprocessableEntity, id, o, wrong, etag)
	}
	if err != nil {
		return err
	}
	return v.redirect("/projects/" + segment(id) + "?done=saved")
}

// removeProject ends a project with all that is in it.
func (v *visit) removeProject() error {
	if _, err := v.ask(ask{method: "DELETE", path: v.projectPath()}); err != nil {
		return err
	}
	v.sessions.choose(v.session, v.session.who.Project)
	return v.redirect("/projects?done=deleted")
}

// tokens lists the tokens made by the API, and makes new ones.
func (v *visit) tokens() error { return v.tokensPage(fasthttp.StatusOK, nil, object{}) }

func (v *visit) tokensPage(status int, wrong map[string][]string, sent object) error {
	var found paged
	if err := v.get("", "/tokens", url.Values{"per_page": {strconv.Itoa(listPage)}, "page": {orOne(v.query("page"))}}, &found); err != nil {
		return err
	}
	e := newEditor("tokens", tokenSections(), sent, wrong)
	scopes := map[string]bool{}
	for _, scope := range sent.Strings("scopes") {
		scopes[scope] = true
	}
	return v.render(status, page{Name: "tokens", Nav: "tokens", Data: map[string]any{
		"Items": found, "Previous": found.Current - 1, "Next": nextPage(found), "Editor": e, "Scopes": scopes, "AllScopes": []string{"read", "write", "admin"}, "ScopeErrors": underPath(wrong, "scopes"),
	}})
}

func tokenSections() []section {
	return []section{{Name: "what", Fields: []field{
		{Path: "name", As: asText, Needed: true}, {Path: "project", As: asText}, {Path: "expires", As: asMoment},
	}}}
}

// underPath gathers what is wrong with a field and its parts.
func underPath(wrong map[string][]string, field string) []string {
	var all []string
	for path, says := range wrong {
		if _, ok := within(field, path); ok {
			all = append(all, says...)
		}
	}
	return all
}

// createToken makes a token and shows it, this once.
func (v *visit) createToken() error {
	o := object{"name": v.form("name"), "project": v.form("project"), "scopes": []any{}}
	for _, scope := range v.http.PostArgs().PeekMulti("scopes") {
		o["scopes"] = append(o["scopes"].([]any), string(scope))
	}
	if text := v.form("expires"); text != "" {
		o["expires"] = text
		if at, err := time.Parse("2006-01-02T15:04", text); err == nil {
			o["expires"] = at.UTC().Format(time.RFC3339)
		}
	}
	g, err := v.ask(ask{method: "POST", path: "/tokens", body: o})
	if wrong := wrongFields(err); wrong != nil {
		return v.tokensPage(fasthttp.StatusUnprocessableEntity, wrong, o)
	}
	if err != nil {
		return err
	}
	var made struct {
		Token string `json:"token"`
	}
	if err := g.into(&made); err != nil {
		return err
	}
	return v.showOnce("tokens", made.Token, "/tokens")
}

// revokeToken ends a token, and with it the sessions that were opened with it.
func (v *visit) revokeToken() error {
	if _, err := v.ask(ask{method: "DELETE", path: "/tokens/" + segment(v.args["id"])}); err != nil {
		return err
	}
	return v.redirect("/tokens?done=revoked")
}

// audit lists who changed what, the newest first.
func (v *visit) audit() error {
	q := url.Values{"per_page": {strconv.Itoa(listPage)}}
	if before := v.query("before"); before != "" {
		q.Set("before", before)
	}
	var found struct {
		Data []object `json:"data"`
		Next *string  `json:"next_page_url"`
	}
	if err := v.get("", "/audit", q, &found); err != nil {
		return err
	}
	return v.render(fasthttp.StatusOK, page{Name: "audit", Nav: "audit", Data: map[string]any{
		"Items": found.Data, "Older": older(found.Next, url.Values{}),
	}})
}

// rotate gives an incoming link a second token and shows it, this once.
func (v *visit) rotate() error { return v.changeLink("/rotate") }

// finishRotation ends a link's first token.
func (v *visit) finishRotation() error { return v.changeLink("/rotate/finish") }

func (v *visit) changeLink(what string) error {
	k, project, err := v.thing()
	if err != nil {
		return err
	}
	if k.Name != "incoming" {
		return fault{status: fasthttp.StatusNotFound, key: "fault.not_found"}
	}
	g, err := v.ask(ask{method: "POST", path: "/incoming/" + segment(v.args["id"]) + what, project: project})
	if err != nil {
		return err
	}
	self := "/p/" + segment(project) + "/incoming/" + segment(v.args["id"])
	var made struct{ Path string }
	if err := g.into(&made); err == nil && made.Path != "" {
		return v.showOnce("incoming", made.Path, self)
	}
	return v.redirect(self + "?done=saved")
}
