package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"hookswitch/schema"
	"hookswitch/store"
)

// projectOperations are those on projects as a whole. Making, changing and ending one is the
// installation's affair: a project says which destinations may be dialled and which addresses asked,
// and what is bound to the project must not loosen that.
func projectOperations() []operation {
	return []operation{
		{"GET", "/api/v1/projects", scopeRead, false, getProjects},
		{"POST", "/api/v1/projects", scopeAdmin, false, once(createProject)},
		{"GET", "/api/v1/projects/{id}", scopeRead, false, inProject(getProject)},
		{"PUT", "/api/v1/projects/{id}", scopeAdmin, false, inProject(updateProject)},
		{"DELETE", "/api/v1/projects/{id}", scopeAdmin, false, inProject(deleteProject)},
	}
}

// inProject is a handler that is about the project in its path.
func inProject(handle func(*request) error) func(*request) error {
	return func(r *request) error {
		if err := r.enterProject(r.arg("id")); err != nil {
			return err
		}
		return handle(r)
	}
}

// listedProject is what a list shows of a project: how much of everything there is in it.
type listedProject struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Default  string `json:"default_schema"` // "" for the installation's
	Version  uint64 `json:"version"`
	ReadOnly string `json:"read_only"` // the file that declares it; "" for none
	Numbers  int    `json:"numbers"`
	Schemas  int    `json:"schemas"`
	Hooks    int    `json:"hooks"`
	Webhooks int    `json:"webhooks"`
	Incoming int    `json:"incoming"`
	// Fault is why it is not in use as it is; an older form of it is, or none.
	Fault string `json:"fault,omitempty"`
}

// getProjects lists those that the token may see.
func getProjects(r *request) error {
	q := strings.ToLower(r.query("q"))
	var mine []*schema.Project
	for _, p := range r.projects() {
		if (r.who.project == "" || r.who.project == p.ID) && (q == "" || has(q, p.ID, p.Name)) {
			mine = append(mine, p)
		}
	}
	return r.page(len(mine), func(i int) (any, error) {
		p := mine[i]
		return listedProject{
			p.ID, p.Name, p.DefaultSchema, p.Version, p.ReadOnly, len(p.Numbers), len(p.Schemas), len(p.Hooks), len(p.Webhooks), len(p.Incoming), r.faultOf(p.ID),
		}, nil
	})
}

// getProject shows all of a project, as the configuration would have it, and beside that its version,
// the file that declares it, and why it is not in use as it is, where that is so.
func getProject(r *request) error {
	p := *r.project
	p.Incoming = make([]schema.Incoming, len(r.project.Incoming))
	for i := range p.Incoming {
		p.Incoming[i] = *hideHashes(&r.project.Incoming[i])
	}
	without := r.query("lists") == "none"
	if without {
		p.Intakes, p.Numbers, p.Schemas, p.Hooks, p.Webhooks, p.Incoming = nil, nil, nil, nil, nil, nil
	}
	b, err := schema.EncodeResource(&p, false)
	if err != nil {
		return err
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &fields); err != nil {
		return fmt.Errorf("show a project: %w", err)
	}
	if without { // sent back so, they stay as they are
		for _, list := range []string{"intakes", "numbers", "schemas", "hooks", "webhooks", "incoming"} {
			delete(fields, list)
		}
	}
	about := map[string]any{"version": p.Version, "read_only": p.ReadOnly}
	if fault := r.faultOf(p.ID); fault != "" {
		about["fault"] = fault
	}
	for key, value := range about {
		if fields[key], err = json.Marshal(value); err != nil {
			return err
		}
	}
	r.http.Response.Header.Set("ETag", etag(p.ID, p.Version))
	return r.answer(fields)
}

// decodeProject reads the body as a project: all of it, or its settings. was is what it replaces, nil
// for nothing: lists of it that the body does not name stay, so that changing a setting does not need
// 10,000 numbers, and what is hidden as "***" stays what it was.
func decodeProject(r *request, was *schema.Project) (*schema.Project, error) {
	body, err := r.body(maxProject)
	if err != nil {
		return nil, err
	}
	said := map[string]json.RawMessage{}
	if json.Unmarshal(body, &said) == nil { // else it is refused below, with the place
		delete(said, "version")
		delete(said, "read_only")
		delete(said, "fault")
		if body, err = json.Marshal(said); err != nil {
			return nil, err
		}
	}
	p := &schema.Project{}
	if err := schema.DecodeResource(body, p); err != nil {
		return nil, err
	}
	if was != nil {
		if p.ID == "" {
			p.ID = was.ID
		}
		if p.ID != was.ID {
			return nil, invalid("id", fmt.Sprintf("found %.80q; want %q, as in the path, or none", p.ID, was.ID))
		}
		keepLists(was, p, said)
		schema.KeepSecrets(was, p)
	}
	for i := range p.Incoming {
		readyIncoming(incomingOf(was, p.Incoming[i].ID), &p.Incoming[i], func(use string, n int) []byte {
			return r.random(fmt.Sprintf("incoming[%d] %s", i, use), n)
		})
	}
	return p, nil
}

// keepLists gives p the lists of was that the body does not name.
func keepLists(was, p *schema.Project, said map[string]json.RawMessage) {
	for key, keep := range map[string]func(){
		"intakes": func() { p.Intakes = was.Intakes }, "numbers": func() { p.Numbers = was.Numbers },
		"schemas": func() { p.Schemas = was.Schemas }, "hooks": func() { p.Hooks = was.Hooks },
		"webhooks": func() { p.Webhooks = was.Webhooks }, "incoming": func() { p.Incoming = was.Incoming },
	} {
		if _, named := said[key]; !named {
			keep()
		}
	}
}

// incomingOf returns the link that a project has by that id; nil for none.
func incomingOf(p *schema.Project, id string) *schema.Incoming {
	if p == nil || id == "" {
		return nil
	}
	if i := incoming.find(p, id); i >= 0 {
		return &p.Incoming[i]
	}
	return nil
}

func createProject(r *request) error {
	p, err := decodeProject(r, nil)
	if err != nil {
		return err
	}
	if other := r.lookup(p.ID); other != nil {
		if err := r.changeable(other); err != nil {
			return err
		}
		// Once it is checked, it says what is kept of it.
		if r.again && schema.CheckProject(p, r.config) == nil && same(other, p) {
			return r.createdProject(p.ID, other.Version)
		}
		return behind(invalid("id", fmt.Sprintf("found %.80q; want one that no other project has", p.ID)))
	}
	if r.store == nil {
		return errNoStore
	}
	version, err := r.plane.Create(r.ctx, r.who.author(), p)
	if errors.Is(err, store.ErrConflict) {
		return behind(conflict("another made a project of that id a moment ago"))
	} else if err != nil {
		return err
	}
	return r.createdProject(p.ID, version)
}

func (r *request) createdProject(id string, version uint64) error {
	r.http.Response.Header.Set("Location", "/api/v1/projects/"+id)
	r.http.Response.Header.Set("ETag", etag(id, version))
	return r.created(success{true})
}

func updateProject(r *request) error {
	err := r.change(func(p *schema.Project) error {
		next, err := decodeProject(r, p)
		if err != nil {
			return err
		}
		next.Version, next.ReadOnly = p.Version, p.ReadOnly
		*p = *next
		return nil
	})
	if err != nil {
		return err
	}
	return r.done()
}

func deleteProject(r *request) error {
	if err := r.changeable(r.project); err != nil {
		return err
	}
	expected, err := r.expected(r.project)
	if err != nil {
		return err
	}
	if err := r.plane.Delete(r.ctx, r.who.author(), r.project.ID, expected); err != nil {
		return raced(err, expected)
	}
	return r.done()
}
