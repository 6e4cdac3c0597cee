package admin

import (
	"context"
	"errors"

	"github.com/valyala/fasthttp"

	"hookswitch/control"
	"hookswitch/schema"
	"hookswitch/store"
)

// Plane is the control plane: the one validated configuration, and the ways to change what of it is
// managed here. control.Plane is the one there is. A change is checked with everything that it is a
// part of; the error is then schema.Faults, whose keys are paths within the project. Other errors are
// the store's, or that the file declares the project.
type Plane interface {
	// Current returns the configuration in use: one version of it, for good. It is read, not changed.
	Current() *schema.Config
	// Refused returns the projects that are managed here and not in use as they are kept.
	Refused() []control.Refused
	// Sync takes up what other instances have changed until now.
	Sync(ctx context.Context) error
	// Create adds a project, by the hand of who, and returns its version.
	Create(ctx context.Context, who string, p *schema.Project) (version uint64, err error)
	// Update changes a copy of the project where it still has the version expected, 0 for any, and
	// returns the new version. An error of change is returned as it is, and nothing changed; change
	// may be called more than once.
	Update(ctx context.Context, who, project string, expected uint64, change func(*schema.Project) error) (version uint64, err error)
	// Delete ends a project where it still has the version expected, 0 for any.
	Delete(ctx context.Context, who, project string, expected uint64) error
	// Audit returns up to limit changes, the newest first: of one project, or of all for "", those
	// before the change with the id before, "" for the newest.
	Audit(ctx context.Context, project, before string, limit int) ([]control.Change, error)
	// Record writes a change that was made elsewhere into that trail.
	Record(ctx context.Context, c control.Change)
}

// change changes the request's project, where it is as If-Match says. The answer gets its new tag.
func (r *request) change(change func(*schema.Project) error) error {
	if err := r.changeable(r.project); err != nil {
		return err
	}
	expected, err := r.expected(r.project)
	if err != nil {
		return err
	}
	version, err := r.plane.Update(r.ctx, r.who.author(), r.project.ID, expected, change)
	if err != nil {
		return raced(err, expected)
	}
	r.http.Response.Header.Set("ETag", etag(r.project.ID, version))
	return nil
}

// changeable refuses to change what a file declares, and anything where there is no store.
func (r *request) changeable(p *schema.Project) error {
	if p.ReadOnly != "" {
		return control.ErrReadOnly{Project: p.ID, File: p.ReadOnly}
	}
	if r.store == nil {
		return errNoStore
	}
	return nil
}

// raced tells a change that lost against others, and named no version, from one that did.
func raced(err error, expected uint64) error {
	if expected == 0 && errors.Is(err, store.ErrConflict) {
		return refusal{status: fasthttp.StatusConflict, message: "others keep changing it: try again", retryAfter: 1}
	}
	return err
}
