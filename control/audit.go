package control

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

const (
	trailAll = "audit"         // of every project's changes
	trailOne = "audit:"        // and its id: of one project's
	keepAll  = 10_000          // changes
	keepOne  = 1_000           // changes
	maxDiff  = 50              // values of one change
	auditFor = 3 * time.Second // how long a change waits for its record to be written
)

// Change is one that was made through the API: who, when, and what.
type Change struct {
	ID      string              `json:"id"` // to page with
	At      time.Time           `json:"at"`
	Who     string              `json:"who"`
	Action  string              `json:"action"`            // create, update or delete
	Project string              `json:"project"`           // of a token, the one that it is bound to; else "" for it
	Token   string              `json:"token,omitempty"`   // id and name of one that was made or revoked; the project is as it was
	Version uint64              `json:"version,omitempty"` // that it led to
	Fields  []schema.Difference `json:"fields,omitempty"`  // of an update, the first 50 values that changed; no secrets
}

// Audit returns up to limit changes, the newest first: of one project, or of all for "", those before
// the change with the id before, "" for the newest. Changes long ago are forgotten.
func (p *Plane) Audit(ctx context.Context, project, before string, limit int) ([]Change, error) {
	if p.opts.Store == nil {
		return nil, errNoStore
	}
	trail := trailAll
	if project != "" {
		trail = trailOne + project
	}
	entries, err := p.opts.Store.Entries(ctx, trail, before, limit)
	if err != nil {
		return nil, fmt.Errorf("read the audit trail: %w", err)
	}
	list := make([]Change, 0, len(entries))
	for _, e := range entries {
		var c Change
		if err := json.Unmarshal(e.Body, &c); err != nil {
			return nil, fmt.Errorf("read the audit trail: entry %s: %w", e.ID, err)
		}
		c.ID = e.ID
		list = append(list, c)
	}
	return list, nil
}

// record writes a project's change.
func (p *Plane) record(ctx context.Context, c change) {
	entry := Change{Who: c.who, Action: c.action, Project: c.id, Fields: schema.Differences(c.from, c.to, maxDiff)}
	if c.to != nil {
		entry.Version = c.to.Version
	}
	p.Record(ctx, entry)
}

// Record writes a change, made now, into the audit trail. It is in the store already, so it can't be
// undone where this fails: then the log has it.
func (p *Plane) Record(ctx context.Context, c Change) {
	c.At = p.opts.Now().UTC()
	if err := Record(ctx, p.opts.Store, c); err != nil {
		p.opts.Log.Error("a change is not in the audit trail", zap.String("project", c.Project), zap.String("token", c.Token),
			zap.String("action", c.Action), zap.String("who", c.Who), zap.Error(err))
	}
}

// Record writes a change into the audit trail that is in a store.
func Record(ctx context.Context, s store.Store, c Change) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditFor)
	defer cancel()
	body, err := json.Marshal(c)
	if err == nil {
		err = s.Append(ctx, trailAll, body, keepAll)
	}
	if err == nil && c.Project != "" {
		err = s.Append(ctx, trailOne+c.Project, body, keepOne)
	}
	return err
}
