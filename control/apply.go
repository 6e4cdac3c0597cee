package control

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"hookswitch/schema"
)

// state is what an application led to.
type state struct {
	config  *schema.Config
	refused []Refused
}

// Refused is a project that the API manages and that is not in use as the store has it: an older form
// of it is, or none. It can be changed and deleted like any other.
type Refused struct {
	ID      string
	Version uint64          // of what the store has
	Project *schema.Project // that; nil where it can't be read. It is read, not changed
	Fault   error           // why it is not in use
}

// Refused returns the projects that are not in use as the store has them, by id.
func (p *Plane) Refused() []Refused { return p.current.Load().refused }

// applyKnown applies what is known by now.
func (p *Plane) applyKnown() error {
	p.mu.Lock()
	seen := p.seen
	p.mu.Unlock()
	return p.applyUpTo(seen)
}

// applyUpTo merges and applies what is known, unless that has been done since seen. Those that come
// while another applies share the next turn.
func (p *Plane) applyUpTo(seen uint64) error {
	p.applying.Lock()
	defer p.applying.Unlock()
	if p.applied >= seen {
		return nil
	}
	p.mu.Lock()
	file, now, docs := p.file, p.seen, maps.Clone(p.docs)
	p.mu.Unlock()
	if file == nil {
		return nil
	}
	m := newMerging(docs)
	if err := p.applyMerged(file, m); err != nil {
		return err
	}
	p.good, p.applied = m.managed, now
	p.current.Store(&state{m.config, m.refused()})
	p.tell(m.allFaults())
	return nil
}

// merging is one merge of documents with the file's projects at work.
type merging struct {
	docs    map[string]*document
	managed map[string]*schema.Project // what of each is tried
	faults  map[string]error           // of those that can't be used as they are
	config  *schema.Config             // what came of it
	left    schema.Faults              // what schema.Merge left out of that
}

func newMerging(docs map[string]*document) *merging {
	m := &merging{docs: docs, managed: make(map[string]*schema.Project, len(docs)), faults: map[string]error{}}
	for id, d := range docs {
		if d.project != nil {
			m.managed[id] = d.project
		}
		if d.fault != nil {
			m.faults[id] = fmt.Errorf("project %s: %w", id, d.fault)
		}
	}
	return m
}

// applyMerged applies the file's projects and those managed that can be. One that can't be stays what
// it was before, so that its numbers go on being known; where that can't be applied either, it is left
// out.
func (p *Plane) applyMerged(file *schema.Config, m *merging) error {
	for {
		m.config, m.left = schema.Merge(file, slices.Collect(maps.Values(m.managed)))
		err := p.opts.Apply(m.config)
		if err == nil {
			return nil
		}
		var culprit interface{ Project() string }
		if !errors.As(err, &culprit) {
			return err
		}
		id := culprit.Project()
		failed, before := m.managed[id], p.good[id]
		switch {
		case failed == nil:
			return err // the file's
		case before != nil && before != failed:
			m.managed[id] = before
		default:
			delete(m.managed, id)
		}
		m.faults[id] = err
	}
}

// refused returns the documents that the configuration does not have as they are. Those whose project
// the file declares too are not among them, as nobody asks for them.
func (m *merging) refused() (list []Refused) {
	used := make(map[string]*schema.Project, len(m.config.Projects))
	for _, project := range m.config.Projects {
		used[project.ID] = project
	}
	for _, id := range slices.Sorted(maps.Keys(m.docs)) {
		d, now := m.docs[id], used[id]
		if now != nil && (now.ReadOnly != "" || d.fault == nil && now.Version == d.version) {
			continue
		}
		r := Refused{ID: id, Version: d.version, Fault: m.faults[id]}
		r.Project, _ = d.content(id)
		prefix := fmt.Sprintf("projects[%q].", id)
		for i := range m.left {
			if r.Fault == nil && strings.HasPrefix(m.left[i].Key, prefix) {
				r.Fault = m.left[i]
			}
		}
		list = append(list, r)
	}
	return list
}

// allFaults lists what is left out, or not in use as it is.
func (m *merging) allFaults() (list []error) {
	for _, id := range slices.Sorted(maps.Keys(m.faults)) {
		list = append(list, m.faults[id])
	}
	for i := range m.left {
		list = append(list, m.left[i])
	}
	return list
}

// tell logs what is left out, when that is news. applying is held.
func (p *Plane) tell(faults []error) {
	p.metrics.refused.Set(float64(len(faults)))
	text := fmt.Sprint(faults)
	if text == p.told {
		return
	}
	p.told = text
	for _, fault := range faults {
		p.opts.Log.Error("left out of what the API manages, or in use as it was before; the rest is in use", zap.Error(fault))
	}
}
