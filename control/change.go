package control

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"hookswitch/schema"
	"hookswitch/store"
)

// attempts is how often an update that names no version is tried against others.
const attempts = 8

// Create stores a new project and applies it. It fails with schema.Faults where the project is not
// sound among the others, ErrReadOnly where a file declares it, store.ErrConflict where there is one of
// that id, and the store's other errors.
func (p *Plane) Create(ctx context.Context, who string, project *schema.Project) (version uint64, err error) {
	if err := p.changeable(project.ID); err != nil {
		return 0, err
	}
	return p.put(ctx, change{who: who, action: "create", id: project.ID, to: project})
}

// Update has change alter a copy of a project and stores and applies that: this instance decides by it
// when Update returns. The project must have the version expected, 0 for any: then change may be called
// more than once, where others change the project at the same time. The errors are Create's,
// store.ErrNotFound, and change's own, as it is; then nothing is stored.
func (p *Plane) Update(ctx context.Context, who, id string, expected uint64, alter func(*schema.Project) error) (version uint64, err error) {
	if err := p.changeable(id); err != nil {
		return 0, err
	}
	for range attempts {
		was, err := p.lookup(ctx, id)
		if err != nil {
			return 0, err
		}
		if expected != 0 && was.version != expected {
			return 0, fmt.Errorf("project %s: %w: it has version %d now, not %d", id, store.ErrConflict, was.version, expected)
		}
		from, err := was.content(id)
		if err != nil {
			return 0, err
		}
		to, err := copyOf(from)
		if err != nil {
			return 0, err
		}
		if err := alter(to); err != nil {
			return 0, err
		}
		to.ID = id // it is the document's, and no other's
		version, err = p.put(ctx, change{who: who, action: "update", id: id, was: was, from: from, to: to})
		if expected != 0 || !errors.Is(err, store.ErrConflict) {
			return version, err
		}
	}
	return 0, fmt.Errorf("project %s: %w: by others, %d times in a row; try again", id, store.ErrConflict, attempts)
}

// Delete ends a project that has the version expected, 0 for any. The errors are Update's.
func (p *Plane) Delete(ctx context.Context, who, id string, expected uint64) error {
	if err := p.changeable(id); err != nil {
		return err
	}
	for range attempts {
		was, err := p.lookup(ctx, id)
		if err != nil {
			return err
		}
		version := was.version
		if expected != 0 {
			version = expected
		}
		err = p.opts.Store.DeleteDoc(ctx, kind, id, version)
		if err == nil {
			return p.finish(ctx, change{who: who, action: "delete", id: id, was: was, from: was.project}, nil)
		}
		if expected != 0 || !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("project %s: %w", id, err)
		}
	}
	return fmt.Errorf("project %s: %w: by others, %d times in a row; try again", id, store.ErrConflict, attempts)
}

// changeable refuses a project that a file declares, and all where there is no store.
func (p *Plane) changeable(id string) error {
	if p.opts.Store == nil {
		return errNoStore
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file != nil {
		for _, project := range p.file.Projects {
			if project.ID == id {
				return ErrReadOnly{Project: id, File: project.ReadOnly}
			}
		}
	}
	return nil
}

// lookup returns the document as the store has it now: what a change builds on may be what another
// instance changed a moment ago.
func (p *Plane) lookup(ctx context.Context, id string) (*document, error) {
	if err := p.Sync(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.docs[id]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("project %s: %w", id, store.ErrNotFound)
}

// content is what the document says, be it faulty, as long as it can be read.
func (d *document) content(id string) (*schema.Project, error) {
	switch {
	case d.raw != nil:
		return d.raw, nil
	case d.fault != nil:
		return nil, ErrUnreadable{id, d.fault}
	}
	return d.project, nil
}

// copyOf returns a project of which nothing is shared.
func copyOf(project *schema.Project) (*schema.Project, error) {
	text, err := schema.EncodeResource(project, true)
	if err != nil {
		return nil, err
	}
	c := &schema.Project{}
	if err := schema.DecodeResource(text, c); err != nil {
		return nil, fmt.Errorf("copy project %s: %w", project.ID, err)
	}
	c.Version = project.Version
	return c, nil
}

// change is one on its way into the store.
type change struct {
	who, action, id string
	was             *document // nil for none
	from, to        *schema.Project
}

// put checks a change against all other projects, tries it out, stores and applies it.
func (p *Plane) put(ctx context.Context, c change) (version uint64, err error) {
	if err := schema.CheckProject(c.to, p.Current()); err != nil {
		return 0, err
	}
	if p.opts.Prepare != nil {
		if err := p.opts.Prepare(c.to); err != nil {
			return 0, err
		}
	}
	body, err := schema.EncodeResource(c.to, true)
	if err != nil {
		return 0, err
	}
	var expected uint64
	if c.was != nil {
		expected = c.was.version
	}
	version, err = p.opts.Store.PutDoc(ctx, kind, c.id, body, expected)
	if err != nil {
		return 0, fmt.Errorf("project %s: %w", c.id, err)
	}
	c.to.Version = version
	return version, p.finish(ctx, c, &document{version: version, sum: sha256.Sum256(body), project: c.to})
}

// finish applies what is in the store by now, and writes it into the audit trail.
func (p *Plane) finish(ctx context.Context, c change, now *document) error {
	p.note(c.id, c.was, now)
	p.record(ctx, c)
	if err := p.applyKnown(); err != nil {
		return ErrNotApplied{c.id, err}
	}
	for _, r := range p.Refused() {
		if now != nil && r.ID == c.id && r.Version == now.version {
			return ErrNotApplied{c.id, r.Fault}
		}
	}
	return nil
}
