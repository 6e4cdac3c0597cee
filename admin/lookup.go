package admin

import (
	"errors"

	"hookswitch/control"
	"hookswitch/schema"
)

// do tries the door and does what is asked. What this instance does not know, or knows in another
// version, may be what another one changed a moment ago: then the store is asked, once.
func (s *Server) do(r *request) error {
	err := s.attempt(r)
	var f refusal
	if !errors.As(err, &f) || !f.behind {
		return err
	}
	if err := s.plane.Sync(r.ctx); err != nil {
		return err
	}
	if s.plane.Current() == r.config {
		return err
	}
	r.http.Response.Reset()
	return s.attempt(r)
}

func (s *Server) attempt(r *request) error {
	if r.op.Scope != "" {
		if err := s.enter(r); err != nil {
			return err
		}
	}
	return r.op.handle(r)
}

// behind marks a refusal by what this instance knows, which may be behind the store.
func behind(err error) error {
	var f refusal
	if !errors.As(err, &f) {
		return err
	}
	f.behind = true
	return f
}

// lookup returns a project as it is to be shown and changed, nil for none.
func (r *request) lookup(id string) *schema.Project {
	for _, p := range r.config.Projects {
		if p.ID == id {
			return r.asStored(id, p)
		}
	}
	return r.asStored(id, nil)
}

// asStored returns a project as the store has it, be that in use or not; inUse is its form that is, nil for
// none. What can't be read shows that form, or next to nothing; it can be deleted.
func (r *request) asStored(id string, inUse *schema.Project) *schema.Project {
	f := r.refusedOf(id)
	switch {
	case f == nil:
		return inUse
	case f.Project != nil:
		return f.Project
	}
	shown := &schema.Project{}
	if shown.SetDefaults(); inUse != nil {
		*shown = *inUse
	}
	shown.ID, shown.Version = id, f.Version
	return shown
}

// refusedOf says why a project is not in use as the store has it; nil where it is.
func (r *request) refusedOf(id string) *control.Refused {
	for i := range r.refused {
		if r.refused[i].ID == id {
			return &r.refused[i]
		}
	}
	return nil
}

// faultOf is that in words; "" where the project is in use as it is.
func (r *request) faultOf(id string) string {
	if f := r.refusedOf(id); f != nil {
		return f.Fault.Error()
	}
	return ""
}

// projects lists every project, those that are not in use among them.
func (r *request) projects() []*schema.Project {
	list := make([]*schema.Project, 0, len(r.config.Projects))
	there := make(map[string]bool, len(r.config.Projects))
	for _, p := range r.config.Projects {
		there[p.ID] = true
		list = append(list, r.asStored(p.ID, p))
	}
	for i := range r.refused {
		if id := r.refused[i].ID; !there[id] {
			list = append(list, r.asStored(id, nil))
		}
	}
	return list
}
