package admin

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hookswitch/schema"
)

// Decisions remembers the last decisions, counts all of them, and shows them to who watches. Its
// Observe is on the way of every call, so it waits for nobody and, while nobody watches, allocates
// nothing. It is safe for concurrent use; make one by NewDecisions.
type Decisions struct {
	masked  atomic.Bool
	shards  [decisionShards]decisionShard
	dropped atomic.Uint64 // decisions that found their slot in use

	seconds, minutes *schema.Series
	projects         projectSeries
	stories          stories
	watchers         watchers
}

// The ring is 16 of 128 slots, by the decision's id, so that calls decided at one time seldom meet.
const (
	decisionShards = 16
	decisionSlots  = 128
)

type decisionShard struct {
	next  atomic.Uint64
	slots [decisionSlots]slot
	_     [64]byte // next is another cache line than the next shard's
}

// NewDecisions returns a memory of some two thousand decisions, about 2 MB.
func NewDecisions() *Decisions {
	return &Decisions{seconds: schema.NewSeries(time.Second, 61), minutes: schema.NewSeries(time.Minute, 60), stories: newStories(), watchers: watchers{failing: suspects{seed: maphash.MakeSeed()}}}
}

// Mask says whether numbers are hidden, as log.mask_numbers does, in what is observed from now on.
func (ds *Decisions) Mask(hide bool) { ds.masked.Store(hide) }

// Observe takes note of a decision that was made: router.Options has it called. It keeps nothing of
// the two.
func (ds *Decisions) Observe(call *schema.Call, d *schema.Decision) {
	now := call.At.Add(d.Elapsed)
	if !d.Repeated {
		ds.seconds.Count(now, d.Source, d.Reason, d.Elapsed)
		ds.minutes.Count(now, d.Source, d.Reason, d.Elapsed)
		ds.projects.count(now, d)
	}
	masked, failed := ds.masked.Load(), failed(d)
	told := failed && ds.watchers.sawFailure(now, call, d) || call.Explain
	shard := &ds.shards[d.ID[len(d.ID)-1]%decisionShards]
	if s := &shard.slots[(shard.next.Add(1)-1)%decisionSlots]; s.mu.TryLock() {
		s.record.write(call, d, masked)
		s.record.storied = told
		s.mu.Unlock()
	} else {
		ds.dropped.Add(1)
	}
	if told {
		var rec record
		rec.write(call, d, masked)
		rec.storied = true
		ds.stories.keep(rec.read(), newStory(call, d, masked), failed)
	}
	ds.watchers.show(now, call, d, masked)
}

type slot struct {
	mu     sync.Mutex // guards record; held for a copy of a kilobyte
	record record
}

// record is one decision: no pointers, so that the garbage collector never looks at two thousand of
// them. Texts are cut to what fits.
type record struct {
	used                        bool
	id                          [26]byte
	at, elapsed                 int64 // nanoseconds
	version                     uint64
	source                      schema.Source
	reason                      schema.Reason
	repeated, notFound, storied bool

	attempts     [slotAttempts]slotAttempt
	attemptCount int

	ends [slotTexts]uint16 // where each text ends
	text [slotBytes]byte
}

type slotAttempt struct {
	began, took int64
	status      int32
	reason      schema.Reason
}

const (
	slotAttempts = 4 // two URLs, twice each
	slotBytes    = 960
)

// The texts of a slot, in their order; those of the attempts come last.
const (
	textCallID = iota
	textProject
	textCaller
	textCallee
	textSchema
	textHook
	textDst
	textDetail
	textWarnings // one a line
	textURLs
	slotTexts = textURLs + slotAttempts
)

// textLimits are the most bytes of each.
var textLimits = [slotTexts]int{96, 64, 40, 40, 64, 64, 128, 200, 200, 96, 96, 96, 96}

// write fills the record.
func (r *record) write(call *schema.Call, d *schema.Decision, masked bool) {
	r.used, r.id, r.at, r.elapsed, r.version = true, d.ID, call.At.UnixNano(), int64(d.Elapsed), d.Version
	r.source, r.reason, r.repeated, r.notFound, r.storied = d.Source, d.Reason, d.Repeated, d.NotFound, call.Explain
	b := r.text[:0]
	b = r.put(b, textCallID, d.CallID)
	b = r.put(b, textProject, d.Project)
	b = r.putNumber(b, textCaller, call.Caller(), masked)
	b = r.putNumber(b, textCallee, call.Callee(), masked)
	b = r.put(b, textSchema, d.Schema)
	b = r.put(b, textHook, d.Hook)
	b = r.putDestinations(b, d, masked)
	b = r.put(b, textDetail, d.Detail)
	for i, w := range d.Warnings {
		if i > 0 && len(b)-int(r.ends[textDetail]) < textLimits[textWarnings] {
			b = append(b, '\n')
		}
		b = appendCut(b, w, int(r.ends[textDetail])+textLimits[textWarnings])
	}
	r.ends[textWarnings] = uint16(len(b))
	if masked {
		schema.MaskBytes(b[r.ends[textDst]:])
	}
	r.writeAttempts(b, d.Answer.Attempts)
}

func (r *record) writeAttempts(b []byte, attempts []schema.Attempt) {
	r.attemptCount = min(len(attempts), slotAttempts)
	for i := range r.attempts {
		url := ""
		if i < r.attemptCount {
			at := &attempts[i]
			r.attempts[i] = slotAttempt{int64(at.Began), int64(at.Took), int32(at.Status), at.Reason}
			url, _, _ = strings.Cut(at.URL, "?") // of a call that is explained it is as sent, the caller's number in it
		}
		b = r.put(b, textURLs+i, url)
	}
}

// put appends a text, as much of it as may be.
func (r *record) put(b []byte, which int, text string) []byte {
	b = appendCut(b, text, len(b)+textLimits[which])
	r.ends[which] = uint16(len(b))
	return b
}

// appendCut appends text, up to a length of end in all and the capacity.
func appendCut(b []byte, text string, end int) []byte {
	room := max(0, min(end, cap(b))-len(b))
	return append(b, text[:min(len(text), room)]...)
}

func (r *record) putNumber(b []byte, which int, number string, masked bool) []byte {
	if !masked || number == "" {
		return r.put(b, which, number)
	}
	if len(number) < 6 {
		return r.put(b, which, "***")
	}
	b = append(append(append(b, number[:3]...), "***"...), number[len(number)-2:]...)
	r.ends[which] = uint16(len(b))
	return b
}

// putDestinations appends the first dial step's destinations, comma-separated: whole ones only.
func (r *record) putDestinations(b []byte, d *schema.Decision, masked bool) []byte {
	start := len(b)
	if step := d.FirstDial(); step != nil {
		for i := range step.Dial {
			before := len(b)
			if cap(b)-before < schema.MaxDestinationLength+1 {
				break
			}
			if i > 0 {
				b = append(b, ',')
			}
			if b = step.Dial[i].AppendText(b); len(b)-start > textLimits[textDst] {
				b = b[:before]
				break
			}
		}
	}
	if masked {
		schema.MaskBytes(b[start:])
	}
	r.ends[textDst] = uint16(len(b))
	return b
}

// read returns what the record holds, in strings of their own.
func (r *record) read() Decision {
	all := string(r.text[:r.ends[slotTexts-1]])
	text := func(which int) string {
		from := uint16(0)
		if which > 0 {
			from = r.ends[which-1]
		}
		return strings.ToValidUTF8(all[from:r.ends[which]], "") // a cut may split a character
	}
	d := Decision{
		ID: string(r.id[:]), At: time.Unix(0, r.at).UTC(), CallID: text(textCallID), Project: text(textProject), Version: r.version,
		Caller: text(textCaller), Callee: text(textCallee), Source: r.source.String(), Reason: r.reason.String(),
		Schema: text(textSchema), Hook: text(textHook), DstPhone: text(textDst), ElapsedMS: milliseconds(time.Duration(r.elapsed)),
		Repeated: r.repeated, NotFound: r.notFound, Explained: r.storied, Detail: text(textDetail), Warnings: []string{}, Attempts: []DecisionAttempt{},
	}
	if w := text(textWarnings); w != "" {
		d.Warnings = strings.Split(w, "\n")
	}
	for i := range r.attempts[:r.attemptCount] {
		at := &r.attempts[i]
		d.Attempts = append(d.Attempts, DecisionAttempt{
			URL: text(textURLs + i), BeganMS: milliseconds(time.Duration(at.began)), TookMS: milliseconds(time.Duration(at.took)),
			Status: int(at.status), Reason: at.reason.String(),
		})
	}
	return d
}

// Decision is one decision as the API tells of it; texts may be cut.
type Decision struct {
	ID        string            `json:"decision_id"`
	At        time.Time         `json:"at"`
	CallID    string            `json:"callid"`
	Project   string            `json:"project"` // "" where the number was nobody's
	Version   uint64            `json:"version"` // of the project
	Caller    string            `json:"caller"`
	Callee    string            `json:"callee"`
	Source    string            `json:"source"`
	Reason    string            `json:"reason"`
	Schema    string            `json:"schema"` // "" where the hook gave the destination itself
	Hook      string            `json:"hook"`   // asked last; "" for none
	DstPhone  string            `json:"dst_phone"`
	ElapsedMS float64           `json:"elapsed_ms"`
	Repeated  bool              `json:"repeated"`
	NotFound  bool              `json:"not_found"`
	Explained bool              `json:"explained"` // its whole story was kept, for a while
	Detail    string            `json:"detail"`
	Warnings  []string          `json:"warnings"`
	Attempts  []DecisionAttempt `json:"attempts"`
	// Lost is how many decisions a watcher missed before this one; 0 elsewhere.
	Lost uint64 `json:"lost,omitempty"`
}

// DecisionAttempt is one request to a webhook.
type DecisionAttempt struct {
	URL     string  `json:"url"` // without its query
	BeganMS float64 `json:"began_ms"`
	TookMS  float64 `json:"took_ms"`
	Status  int     `json:"status"` // 0 for no answer
	Reason  string  `json:"reason"`
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// DecisionFilter selects decisions; what is empty selects all.
type DecisionFilter struct {
	CallID, Project, Source, Reason, Hook string
	// Number is part of the caller's or the callee's. Where numbers are hidden, what is left to see of
	// them has to fit.
	Number string
}

func (f *DecisionFilter) matches(d *Decision) bool {
	return (f.CallID == "" || f.CallID == d.CallID) && (f.Project == "" || f.Project == d.Project) &&
		(f.Source == "" || f.Source == d.Source) && (f.Reason == "" || f.Reason == d.Reason) && (f.Hook == "" || f.Hook == d.Hook) &&
		(f.Number == "" || numberMatches(d.Caller, f.Number) || numberMatches(d.Callee, f.Number))
}

// numberMatches reports whether want is part of the number, or might be of a masked one.
func numberMatches(number, want string) bool {
	number, want = strings.TrimPrefix(number, "+"), strings.TrimPrefix(want, "+")
	before, after, hidden := strings.Cut(number, "***")
	if !hidden {
		return strings.Contains(number, want)
	}
	return number != "***" && strings.HasPrefix(want, before) && strings.HasSuffix(want, after)
}

// List returns the decisions that f selects, newest first.
func (ds *Decisions) List(f DecisionFilter) []Decision {
	var list []Decision
	for i := range ds.shards {
		for j := range ds.shards[i].slots {
			if rec := ds.shards[i].slots[j].copy(); rec.used {
				if d := rec.read(); f.matches(&d) {
					list = append(list, d)
				}
			}
		}
	}
	list = ds.stories.others(list, &f)
	slices.SortStableFunc(list, func(a, b Decision) int {
		if later := b.At.Compare(a.At); later != 0 {
			return later
		}
		return strings.Compare(b.ID, a.ID)
	})
	return list
}

// copy returns what the slot holds now.
func (s *slot) copy() record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record
}

// Find returns a decision and, where that was kept, its story; false where it is not remembered, or
// belongs to another project than the one given, "" for any.
func (ds *Decisions) Find(id, project string) (Decision, *Story, bool) {
	if told, ok := ds.stories.find(id); ok {
		return told.Decision, told.story, project == "" || project == told.Project
	}
	for _, d := range ds.List(DecisionFilter{Project: project}) {
		if d.ID == id && !d.Repeated {
			return d, nil, true
		}
	}
	return Decision{}, nil, false
}
