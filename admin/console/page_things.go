package console

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// The pages of what a project has: a list, and a form for one, of every kind alike.

// paged is a part of a list as the API answers it.
type paged struct {
	Data     []object `json:"data"`
	Current  int      `json:"current_page"`
	Last     int      `json:"last_page"`
	From, To int
	Total    int `json:"total"`
}

const listPage = 50

// thing finds out which kind and which project the path names.
func (v *visit) thing() (kind, string, error) {
	k, ok := kindNamed(v.args["kind"])
	if !ok {
		return k, "", fault{status: fasthttp.StatusNotFound, key: "fault.not_found"}
	}
	return k, v.args["project"], nil
}

// list shows a page of what a project has of one kind.
func (v *visit) list() error {
	k, project, err := v.thing()
	if err != nil {
		return err
	}
	settings, err := v.settings(project)
	if err != nil {
		return err
	}
	q := url.Values{"per_page": {strconv.Itoa(listPage)}, "page": {orOne(v.query("page"))}}
	if text := v.query("q"); text != "" {
		q.Set("q", text)
	}
	var found paged
	if err := v.get(project, "/"+k.Name, q, &found); err != nil {
		return err
	}
	return v.render(fasthttp.StatusOK, page{
		Name: "list", Title: v.texts.get(v.lang, "nav."+k.Name), Nav: k.Name, Project: project, ReadOnly: settings.ReadOnly,
		Data: map[string]any{
			"Kind": k, "Items": found, "Query": v.query("q"), "Base": "/p/" + segment(project) + "/" + k.Name,
			"Previous": found.Current - 1, "Next": nextPage(found), "States": v.hookStates(k, project, found.Data),
		},
	})
}

// hookStates tells how each of the hooks in a list is doing, by its id; nil for a list of other things,
// and where that is not known.
func (v *visit) hookStates(k kind, project string, list []object) map[string]hookState {
	if k.Name != "hooks" {
		return nil
	}
	states := make(map[string]hookState, len(list))
	for _, o := range list {
		var s hookState
		if err := v.get(project, "/hooks/"+segment(o.Text("id"))+"/stats", nil, &s); err != nil {
			return nil
		}
		states[o.Text("id")] = s
	}
	return states
}

func orOne(page string) string {
	if n, err := strconv.Atoi(page); err != nil || n < 1 {
		return "1"
	}
	return page
}

// nextPage returns the number of the page that follows, 0 for none.
func nextPage(p paged) int {
	if p.Current < p.Last {
		return p.Current + 1
	}
	return 0
}

// blank shows an empty form.
func (v *visit) blank() error {
	k, project, err := v.thing()
	if err != nil {
		return err
	}
	return v.edit(fasthttp.StatusOK, k, project, object{}, nil, editing{isNew: true})
}

// create makes one of what was sent.
func (v *visit) create() error {
	k, project, err := v.thing()
	if err != nil {
		return err
	}
	o := object{}
	v.take(k.Sections, o, true)
	g, err := v.ask(ask{method: "POST", path: "/" + k.Name, project: project, body: o})
	if wrong := wrongFields(err); wrong != nil {
		return v.edit(fasthttp.StatusUnprocessableEntity, k, project, o, wrong, editing{isNew: true})
	}
	if err != nil {
		return err
	}
	base := "/p/" + segment(project) + "/" + k.Name
	var made struct{ ID, Token, Path string }
	if err := g.into(&made); err == nil && made.Token != "" {
		return v.showOnce(k.Name, made.Path, base+"/"+segment(made.ID))
	}
	if id := o.Text(k.ID); id != "" && !k.Made {
		return v.redirect(base + "/" + segment(id) + "?done=created")
	}
	return v.redirect(base + "?done=created")
}

// showOnce leads to a page that shows what nobody is told a second time: one of its own, which may be
// loaded again without making another.
func (v *visit) showOnce(nav, text, next string) error {
	return v.redirect("/shown/" + v.sessions.hold(v.session, heldSecret{nav: nav, next: next, text: schema.NewSecret(text)}))
}

func (v *visit) shownOnce() error {
	h, ok := v.sessions.take(v.session, v.args["key"])
	if !ok {
		return fault{status: fasthttp.StatusGone, key: "fault.shown"}
	}
	return v.render(fasthttp.StatusOK, page{Name: "secret", Nav: h.nav, Data: map[string]any{"Text": h.text.Reveal(), "Next": h.next}})
}

// wrongFields returns what the API found wrong with the fields of a form, nil where it was not that.
func wrongFields(err error) map[string][]string {
	var r *refusal
	if !errors.As(err, &r) || r.Status != fasthttp.StatusUnprocessableEntity && r.Status != fasthttp.StatusBadRequest {
		return nil
	}
	if len(r.Errors) == 0 {
		return map[string][]string{"": {r.Message}}
	}
	return r.Errors
}

// one gets the thing that the path names.
func (v *visit) one(k kind, project string) (o object, id, etag string, err error) {
	id = v.args["id"]
	g, err := v.ask(ask{method: "GET", path: "/" + k.Name + "/" + segment(id), project: project})
	if err != nil {
		return nil, "", "", err
	}
	return o, id, g.etag, g.into(&o)
}

// show shows one thing, to be changed where it can be.
func (v *visit) show() error {
	k, project, err := v.thing()
	if err != nil {
		return err
	}
	o, id, etag, err := v.one(k, project)
	if err != nil {
		return err
	}
	return v.edit(fasthttp.StatusOK, k, project, o, nil, editing{id: id, etag: etag})
}

// update changes one thing, where nobody has changed its project since the form was made.
func (v *visit) update() error {
	k, project, err := v.thing()
	if err != nil {
		return err
	}
	o, id, _, err := v.one(k, project)
	if err != nil {
		return err
	}
	v.take(k.Sections, o, false)
	tidy(k, o)
	etag := v.form("etag")
	_, err = v.ask(ask{method: "PUT", path: "/" + k.Name + "/" + segment(id), project: project, body: o, etag: etag})
	if wrong := wrongFields(err); wrong != nil {
		return v.edit(fasthttp.StatusUnprocessableEntity, k, project, o, wrong, editing{id: id, etag: etag})
	}
	if err != nil {
		return err
	}
	return v.redirect("/p/" + segment(project) + "/" + k.Name + "/" + segment(id) + "?done=saved")
}

// tidy drops what the form has emptied: {} says more than nothing.
func tidy(k kind, o object) {
	for _, path := range []string{"auth.basic", "auth", "hours", "route"} {
		if inner, ok := o.At(path).(map[string]any); ok && len(inner) == 0 {
			o.set(path, nil)
		}
	}
}

// remove deletes one thing.
func (v *visit) remove() error {
	k, project, err := v.thing()
	if err != nil {
		return err
	}
	o, id, etag, err := v.one(k, project)
	if err != nil {
		return err
	}
	_, err = v.ask(ask{method: "DELETE", path: "/" + k.Name + "/" + segment(id), project: project})
	if wrong := wrongFields(err); wrong != nil { // something else refers to it
		return v.edit(fasthttp.StatusUnprocessableEntity, k, project, o, wrong, editing{id: id, etag: etag})
	}
	if err != nil {
		return err
	}
	return v.redirect("/p/" + segment(project) + "/" + k.Name + "?done=deleted")
}

// enable lets a subscription that was disabled, by hand or for its failures, have deliveries again.
func (v *visit) enable() error {
	k, project, err := v.thing()
	if err != nil {
		return err
	}
	if k.Name != "webhooks" {
		return fault{status: fasthttp.StatusNotFound, key: "fault.not_found"}
	}
	if _, err := v.ask(ask{method: "POST", path: "/webhooks/" + segment(v.args["id"]) + "/enable", project: project}); err != nil {
		return err
	}
	return v.redirect("/p/" + segment(project) + "/webhooks/" + segment(v.args["id"]) + "?done=enabled")
}

// editing is how a form came to be.
type editing struct {
	isNew    bool
	id, etag string
}

// edit shows the form of one thing, and what it looks like where that can be drawn.
func (v *visit) edit(status int, k kind, project string, o object, wrong map[string][]string, how editing) error {
	settings, err := v.settings(project)
	if err != nil {
		return err
	}
	e := newEditor(k.Name, k.Sections, o, wrong)
	e.New, e.ETag, e.Locked = how.isNew, how.etag, settings.ReadOnly != "" || !v.session.may("write")
	if e.Options, err = v.options(k, project); err != nil {
		return err
	}
	e.finish()
	base := "/p/" + segment(project) + "/" + k.Name
	data := map[string]any{"Editor": e, "Base": base, "ID": how.id, "Kind": k.Name, "Self": base + "/" + segment(how.id), "Figures": nil, "Failing": o.At("disabled_for_failing")}
	if how.isNew {
		data["Self"] = base + "/new"
	}
	if data["Flow"], err = v.flow(k, o, settings, how); err != nil {
		return err
	}
	if k.Name == "hooks" && !how.isNew {
		data["Figures"] = v.hookFigures(project, how.id)
	}
	title := v.texts.get(v.lang, "new."+k.Name)
	if !how.isNew {
		title = v.texts.get(v.lang, "one."+k.Name, nameOf(k, o, how.id))
	}
	return v.render(status, page{Name: "edit", Title: title, Nav: k.Name, Project: project, ReadOnly: settings.ReadOnly, Data: data})
}

func nameOf(k kind, o object, id string) string {
	if name := o.Text("name"); name != "" {
		return name
	}
	return id
}

// options are what the form's choices among the project's own things offer.
func (v *visit) options(k kind, project string) (map[string][]option, error) {
	wanted := map[string][]option{}
	for _, s := range k.Sections {
		for _, f := range s.Fields {
			switch {
			case f.As == asSteps:
				wanted["schemas"], wanted["hooks"] = nil, nil
			case f.From != "":
				wanted[f.From] = nil
			}
		}
	}
	for from := range wanted {
		var err error
		if wanted[from], err = v.optionsOf(from, project); err != nil {
			return nil, err
		}
	}
	return wanted, nil
}

// maxOptions is how many of a kind a form offers; others are typed.
const maxOptions = 1000

// optionsOf lists the ids and names of a kind.
func (v *visit) optionsOf(from, project string) ([]option, error) {
	var all []option
	for n := 1; ; n++ {
		var found paged
		q := url.Values{"per_page": {"100"}, "page": {strconv.Itoa(n)}}
		if err := v.get(project, "/"+from, q, &found); err != nil {
			return nil, err
		}
		for _, o := range found.Data {
			all = append(all, option{ID: o.Text("id"), Name: o.Text("name")})
		}
		if n >= found.Last || len(all) >= maxOptions {
			return all, nil
		}
	}
}

// finish gives every field what it needs of the form.
func (e *editor) finish() {
	for i := range e.Sections {
		for j := range e.Sections[i].Fields {
			f := &e.Sections[i].Fields[j]
			f.Locked = e.Locked || f.Fixed && !e.New
			f.Among, f.hooks, f.schemas = e.Options[f.From], e.Options["hooks"], e.Options["schemas"]
			if f.As == asOne && f.Value != "" && !hasOption(f.Among, f.Value) {
				f.Among = append([]option{{ID: f.Value}}, f.Among...)
			}
			if f.As == asChoice && f.Value == "" && len(f.Choices) > 0 {
				f.Value = f.Choices[0]
			}
		}
	}
}

func hasOption(all []option, id string) bool {
	for _, o := range all {
		if o.ID == id {
			return true
		}
	}
	return false
}

// summary is what a list's column shows of a value.
func (t *texts) summary(lang string, o object, path string) string {
	if path != "steps" {
		return o.Text(path)
	}
	var parts []string
	for _, step := range o.List("steps") {
		for _, kind := range stepKinds {
			if step.At(kind) != nil {
				parts = append(parts, t.get(lang, "step."+kind)+" "+joined(step, kind))
			}
		}
	}
	return strings.Join(parts, " → ")
}

func joined(step object, kind string) string {
	if kind == "dial" {
		return strings.Join(step.Strings("dial"), ", ")
	}
	return step.Text(kind)
}
