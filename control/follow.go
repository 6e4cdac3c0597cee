package control

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

const (
	kind = "project" // of documents

	// settle is the least time between two applications of what other instances changed.
	settle = 100 * time.Millisecond
	// heartbeat is how often the store is asked though it said nothing: a wake may get lost, and
	// somebody wants to know whether it is up.
	heartbeat = 2 * time.Second
	// listEvery is how often all documents are read, though nothing points to a change that was missed.
	listEvery = 10 * time.Minute
	// page is how many documents one request asks for; a project of 10,000 numbers is half a megabyte.
	page = 50
	// syncPatience bounds one catching up with the store.
	syncPatience = 30 * time.Second
)

// Run takes up what is in the store, at once, and every change to it, until ctx ends.
func (p *Plane) Run(ctx context.Context) {
	if p.opts.Store == nil {
		return
	}
	wakes := p.opts.Store.Watch(ctx)
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for up := true; ; {
		err := p.sync(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && up:
			p.opts.Log.Error("the store can't be read; the last good configuration stays in use", zap.Error(err))
		case err == nil && !up:
			p.opts.Log.Info("the store is read again")
		}
		up = err == nil
		if err := p.applyKnown(); err != nil {
			p.opts.Log.Error("a change can't be applied; the last good configuration stays in use", zap.Error(err))
		}
		if up {
			p.once.Do(func() { close(p.loaded) })
		}
		if !pause(ctx, settle) {
			return
		}
		select {
		case _, open := <-wakes:
			if !open {
				return
			}
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Sync takes up what other instances have changed until now. Its errors are the store's.
func (p *Plane) Sync(ctx context.Context) error {
	if p.opts.Store == nil {
		return nil
	}
	if err := p.sync(ctx); err != nil {
		return err
	}
	if err := p.applyKnown(); err != nil {
		p.opts.Log.Error("a change can't be applied; the last good configuration stays in use", zap.Error(err))
	}
	return nil
}

// sync reads what has changed in the store since the last time; only that is fetched and decoded.
func (p *Plane) sync(ctx context.Context) error {
	select {
	case p.syncing <- struct{}{}:
		defer func() { <-p.syncing }()
	case <-ctx.Done():
		return errors.Join(store.ErrUnavailable, ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	err := store.ErrTooOld
	if time.Since(p.listed) < listEvery {
		err = p.readChanges(ctx)
	}
	if errors.Is(err, store.ErrTooOld) {
		err = p.readAll(ctx)
	}
	if err != nil {
		p.metrics.up.Set(0)
		return err
	}
	p.metrics.up.Set(1)
	p.metrics.version.Set(float64(p.since))
	return nil
}

// readChanges reads the documents that have changed. syncing is held.
func (p *Plane) readChanges(ctx context.Context) error {
	for {
		list, err := p.opts.Store.Changed(ctx, kind, p.since, page)
		if err != nil {
			return err
		}
		for i := range list {
			p.take(&list[i], false)
			p.since = list[i].Version
		}
		if len(list) < page {
			return nil
		}
	}
}

// readAll reads every document, and drops those that are gone. syncing is held.
func (p *Plane) readAll(ctx context.Context) error {
	since, err := p.opts.Store.Change(ctx)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for after := ""; ; {
		list, err := p.opts.Store.ListDocs(ctx, kind, "", after, page)
		if err != nil {
			return err
		}
		for i := range list {
			after = list[i].ID
			there[after] = true
			p.take(&list[i], true)
		}
		if len(list) < page {
			break
		}
	}
	p.mu.Lock()
	for id := range p.docs {
		if !there[id] {
			delete(p.docs, id)
			p.seen++
		}
	}
	p.mu.Unlock()
	p.since, p.listed = since, time.Now()
	return p.readChanges(ctx) // what came while the pages were read
}

// take notes what the store says of one document. One that is known is left as it is, and so is one of
// a later version, which this instance has just written, unless the store may have gone back. A store
// that lost its last changes gives their versions again, so the version alone does not say what it is.
func (p *Plane) take(d *store.Doc, back bool) {
	p.mu.Lock()
	was := p.docs[d.ID]
	p.mu.Unlock()
	switch {
	case was == nil && d.Deleted:
		return
	case was != nil && was.version > d.Version && !back:
		return
	case was != nil && was.version == d.Version && !d.Deleted && was.sum == sha256.Sum256(d.Body):
		return
	}
	var now *document
	if !d.Deleted {
		now = read(d, was)
	}
	p.note(d.ID, was, now)
}

// note puts a document in the place of another, unless that has been done meanwhile. nil is none.
func (p *Plane) note(id string, was, now *document) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.docs[id] != was {
		return // changed by this instance a moment ago; a later wake brings what came after
	}
	if now == nil {
		delete(p.docs, id)
	} else {
		p.docs[id] = now
	}
	p.seen++
}

// elsewhere stands for the installation while a project is checked alone: what concerns others,
// schema.Merge sees to, each time anew.
var elsewhere = &schema.Config{DefaultSchema: "elsewhere/1"}

// read makes a project of a document. One that is faulty, in the eyes of this version of the program,
// stays what it was.
func read(d *store.Doc, was *document) *document {
	now := &document{version: d.Version, sum: sha256.Sum256(d.Body)}
	project := &schema.Project{}
	now.fault = schema.DecodeResource(d.Body, project)
	if now.fault == nil {
		project.Version = d.Version
		now.raw = project
		now.fault = schema.CheckProject(project, elsewhere)
	}
	switch {
	case now.fault == nil:
		now.project, now.raw = project, nil
	case was != nil:
		now.project = was.project
	}
	return now
}
