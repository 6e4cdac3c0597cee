package router

import (
	"slices"
	"strings"
	"sync"
	"time"

	"hookswitch/schema"
)

// standIn puts in the hook's place what its owner chose: its last good answer, then its own
// fallback scheme. False means that there is neither.
func (w *walk) standIn(h *hook) bool {
	if h.conf.LastGood > 0 && w.lastGood(h) {
		return true
	}
	if s := w.project.schemes[h.conf.OnFailure]; s != nil {
		w.say("on_failure of hook %s", h.conf.ID)
		if w.followFallback(s) {
			return true
		}
	}
	return false
}

// lastGood dials what the hook last answered for the number called, if that is recent, and still
// allowed. The reason goes on telling why the hook could not be had.
func (w *walk) lastGood(h *hook) bool {
	list := h.lastGood.get(w.call.Callee(), time.Now(), h.conf.LastGood)
	if len(list) == 0 {
		return false
	}
	own := append([]schema.Destination(nil), list...)
	kept, reason, _ := w.project.policy.check(own, w.call.Callee(), w.call.Dialect, &w.d.Warnings)
	if reason != schema.ReasonOK {
		return false
	}
	w.say("the last good answer of hook %s stands in", h.conf.ID)
	w.dial(h, kept, schema.SourceLastGood)
	return true
}

// lastResort follows the project's default scheme, then the installation's. Where there is none,
// the number is nobody's, and the PBX is told so.
func (w *walk) lastResort() {
	if w.project != nil && w.project.fallback != nil && w.followFallback(w.project.fallback) {
		return
	}
	if s := w.t.fallback; s != nil {
		w.d.Dialing = s.project.dialing
		if w.followFallback(s) {
			return
		}
	}
	w.d.NotFound = true
}

// followFallback follows s without asking any hook, whatever was followed before.
func (w *walk) followFallback(s *scheme) bool {
	w.fallback, w.schemes, w.d.Steps = true, 0, w.d.Steps[:0]
	reason, detail := w.d.Reason, w.d.Detail
	good := w.follow(s, schema.SourceFallback)
	w.fallback = false
	w.d.Reason, w.d.Detail, w.d.Source = reason, detail, schema.SourceFallback
	return good
}

// lastGood keeps a hook's last good answer for each number called.
type lastGood struct {
	mu    sync.Mutex // guards byNum; one hook's own, never held during I/O
	byNum map[string]goodAnswer
}

type goodAnswer struct {
	list []schema.Destination
	at   time.Time
	told time.Time // when other instances were told
}

// maxLastGood bounds the numbers of one hook that are remembered.
const maxLastGood = 10000

// keep remembers list, copied, as the answer for callee. An equal one is merely renewed, and that
// not at every call, so that a busy hook neither allocates nor waits here. It returns the copy, which
// nobody changes, where other instances should be told: where it is new, and at half its life.
func (l *lastGood) keep(callee string, list []schema.Destination, now time.Time, life time.Duration) (tell []schema.Destination) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.byNum[callee]
	if ok && slices.Equal(known.list, list) {
		if now.Sub(known.at) > life/10 {
			known.at = now
			if now.Sub(known.told) > life/2 {
				known.told, tell = now, known.list
			}
			l.byNum[callee] = known
		}
		return tell
	}
	tell = cloneAll(list)
	l.put(callee, goodAnswer{tell, now, now})
	return tell
}

// learn remembers what another instance was answered at that time, unless something newer is known.
// The list is kept.
func (l *lastGood) learn(callee string, list []schema.Destination, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.byNum[callee]; !ok || known.at.Before(at) {
		l.put(callee, goodAnswer{list, at, at})
	}
}

// put remembers an answer under the lock, in the place of some other where there are too many.
func (l *lastGood) put(callee string, a goodAnswer) {
	if l.byNum == nil {
		l.byNum = make(map[string]goodAnswer)
	}
	if _, known := l.byNum[callee]; !known && len(l.byNum) >= maxLastGood {
		for other := range l.byNum { // any one: the map's order is random
			delete(l.byNum, other)
			break
		}
	}
	l.byNum[strings.Clone(callee)] = a
}

// get returns what is remembered for callee and no older than life. The slice is shared: read it
// only.
func (l *lastGood) get(callee string, now time.Time, life time.Duration) []schema.Destination {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.byNum[callee]
	if !ok || now.Sub(known.at) > life {
		return nil
	}
	return known.list
}

// cloneAll copies destinations out of the memory of the answer that they were read from.
func cloneAll(list []schema.Destination) []schema.Destination {
	own := make([]schema.Destination, len(list))
	for i, d := range list {
		d.User, d.Host = strings.Clone(d.User), strings.Clone(d.Host)
		own[i] = d
	}
	return own
}
