package history

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"go.uber.org/zap"

	"hookswitch/schema"
)

const (
	lastGoodTrail = "lastgood"
	// keptEntries bounds the trail. An instance writes at most an entry of entryAnswers each second
	// for every so many answers that changed; one that starts knows what the trail still holds.
	keptEntries  = 2000
	entryAnswers = 100
	// pollEvery is how often other instances' answers are looked for, pageSize how many entries are
	// read at once.
	pollEvery = time.Second
	pageSize  = 100
)

// answerKey is whose answer it is: a hook's, for a number called.
type answerKey struct{ project, hook, callee string }

// answer is a hook's last good one.
type answer struct {
	answerKey
	list []schema.Destination
	at   time.Time
}

// entry is what the trail holds: answers of one instance.
type entry struct {
	By      string       `json:"by"`
	Answers []toldAnswer `json:"answers"`
}

type toldAnswer struct {
	Project      string   `json:"project"`
	Hook         string   `json:"hook"`
	Callee       string   `json:"callee"`
	Destinations []string `json:"destinations"`
	At           int64    `json:"at"` // Unix milliseconds
}

// Answered tells the other instances a hook's good answer, and this one after a restart. It never
// waits. The list is not changed any more by anyone; the strings are copied.
func (h *History) Answered(project, hook, callee string, list []schema.Destination, at time.Time) {
	select {
	case h.answers <- answer{answerKey{project, hook, strings.Clone(callee)}, list, at}:
	default:
		h.count(whatLastGood, "dropped", 1)
	}
}

// hold keeps the newest answer of each hook and number for the next tick.
func (h *History) hold(w *waiting, a answer) {
	if _, known := w.answers[a.answerKey]; !known && len(w.answers) >= maxWaiting {
		h.count(whatLastGood, "dropped", 1)
		return
	}
	w.answers[a.answerKey] = a
}

// writeAnswers appends what waits to the trail. What can't be written now goes on waiting.
func (h *History) writeAnswers(w *waiting) {
	if len(w.answers) == 0 || w.pause {
		return
	}
	ctx, cancel := context.WithTimeout(h.last, writeTime)
	defer cancel()
	for len(w.answers) > 0 {
		e := entry{By: h.instance}
		var keys []answerKey
		for key, a := range w.answers {
			if len(keys) == entryAnswers {
				break
			}
			keys = append(keys, key)
			e.Answers = append(e.Answers, a.told())
		}
		body, err := json.Marshal(e)
		if err == nil {
			err = h.store.Append(ctx, lastGoodTrail, body, keptEntries)
		}
		if err != nil {
			h.failed(w, whatLastGood, err)
			return
		}
		h.count(whatLastGood, "ok", len(keys))
		for _, key := range keys {
			delete(w.answers, key)
		}
	}
}

func (a *answer) told() toldAnswer {
	t := toldAnswer{Project: a.project, Hook: a.hook, Callee: a.callee, At: a.at.UnixMilli()}
	for _, d := range a.list {
		t.Destinations = append(t.Destinations, d.String())
	}
	return t
}

// Learn takes up an answer that is known from elsewhere. It may come more than once, and late.
type Learn = func(project, hook, callee string, list []schema.Destination, at time.Time)

// Follow has learn told, until Close, what the trail holds now, and within pollEvery or so what other
// instances add to it. Call it once, when learn knows its hooks.
func (h *History) Follow(learn Learn) {
	h.running.Go(func() {
		ctx, cancel := context.WithCancel(h.last)
		defer cancel()
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		last := ""
		for {
			if newest, err := h.learnSince(ctx, last, learn); err == nil {
				last = newest
			}
			select {
			case <-tick.C:
			case <-h.quit:
				return
			}
		}
	})
}

// learnSince reads the trail back to the entry last, all of it for "", and returns the newest entry.
func (h *History) learnSince(ctx context.Context, last string, learn Learn) (newest string, err error) {
	newest = last
	for before, first := "", true; ; first = false {
		entries, err := h.store.Entries(ctx, lastGoodTrail, before, pageSize)
		if err != nil {
			h.logFailure(whatLastGood, err)
			return last, err
		}
		for i := range entries {
			if entries[i].ID == last {
				return newest, nil
			}
			if first && i == 0 {
				newest = entries[0].ID
			}
			h.learnEntry(entries[i].Body, last == "", learn)
		}
		if len(entries) < pageSize {
			return newest, nil
		}
		before = entries[len(entries)-1].ID
	}
}

// learnEntry passes an entry's answers on. Our own are known already, but when we have just started.
func (h *History) learnEntry(body []byte, own bool, learn Learn) {
	var e entry
	if json.Unmarshal(body, &e) != nil || e.By == h.instance && !own {
		return
	}
	for i := range e.Answers {
		t := &e.Answers[i]
		list := make([]schema.Destination, 0, len(t.Destinations))
		for _, text := range t.Destinations {
			d, err := schema.ParseDestination(text, "")
			if err != nil {
				list = nil // of another version, or tampered with
				break
			}
			list = append(list, d)
		}
		if len(list) > 0 {
			learn(t.Project, t.Hook, t.Callee, list, time.UnixMilli(t.At))
		}
	}
}

func (h *History) logFailure(what string, err error) {
	h.log.Debug("the store can't be used for now", zap.String("what", what), zap.Error(err))
}
