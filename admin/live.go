package admin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"hookswitch/schema"
)

// Live is what the API shows of calls as they are decided, and tries out. What needs one of them that
// is nil is refused with 503.
type Live struct {
	Decisions *Decisions
	Rehearse  Rehearser
	Hooks     HookStats
	Webhook   WebhookTester
	// Render writes a decision as the dialect of that name does; false for an unknown one.
	Render func(format string, call *schema.Call, d *schema.Decision) (contentType string, body []byte, known bool)
	// Backlog tells how many deliveries of a project, "" for all, wait and have been given up.
	Backlog func(project string) (schema.Backlog, error)
}

// Rehearser decides a call that nobody makes; router.Router is one.
type Rehearser interface {
	// Rehearse puts into d the decision that would be made of call, and its story, and leaves no
	// trace. ask, where it is not nil, is asked in the place of every hook.
	Rehearse(call *schema.Call, d *schema.Decision,
		ask func(p *schema.Project, h *schema.Hook, call *schema.Call, deadline time.Time, a *schema.Answer))
}

// HookStats tells how hooks have been answering; router.Router does.
type HookStats interface {
	// HookStats tells of one; false where there is none of that name.
	HookStats(project, hook string) (schema.HookStats, bool)
	// AllHookStats tells of every hook of a project, "" for all: of the periods of the time lately alone,
	// and not of the failures.
	AllHookStats(project string, lately time.Duration) []schema.HookStats
}

// WebhookTester asks and reads webhooks that are tried out; hookclient.Client is one.
type WebhookTester interface {
	// Test asks the webhook over new connections, and tells how long each stage took.
	Test(p *schema.Project, h *schema.Hook, call *schema.Call, deadline time.Time, a *schema.Answer) (schema.Times, error)
	// Read fills a with what such an answer would mean.
	Read(p *schema.Project, h *schema.Hook, status int, header map[string]string, body []byte, a *schema.Answer)
}

func liveOperations() []operation {
	return append(overviewOperations(), []operation{
		{"GET", "/api/v1/decisions", scopeRead, false, getDecisions},
		{"GET", "/api/v1/decisions/stream", scopeRead, false, streamDecisions},
		{"GET", "/api/v1/decisions/{id}", scopeRead, false, getDecision},
		{"POST", "/api/v1/explain", scopeWrite, false, explain},
		{"POST", "/api/v1/hooks/{id}/test", scopeWrite, true, testHook},
		{"GET", "/api/v1/hooks/{id}/stats", scopeRead, true, getHookStats},
		{"GET", "/api/v1/openapi.yaml", "", false, getOpenAPI},
	}...)
}

var errNotLive = unavailable("this instance decides no calls, so that it has none to show")

// onlyProject returns the project that the request is limited to, by what it names or by its token; ""
// for all of them.
func (r *request) onlyProject() (string, error) {
	if r.header("Client") == "" && r.query("project") == "" && r.who.project == "" {
		return "", nil
	}
	id, err := projectOf(r)
	if err != nil {
		return "", err
	}
	return id, r.enterProject(id)
}

// decisionFilter reads the parameters callid, number, reason, source, hook and project.
func (r *request) decisionFilter() (DecisionFilter, error) {
	project, err := r.onlyProject()
	if err != nil {
		return DecisionFilter{}, err
	}
	f := DecisionFilter{
		CallID: r.query("callid"), Number: r.query("number"), Hook: r.query("hook"), Project: project,
		Source: r.query("source"), Reason: r.query("reason"),
	}
	if !named(f.Source, int(schema.SourceCount), func(i int) string { return schema.Source(i).String() }) {
		return f, invalid("source", fmt.Sprintf("found %.20q; want hook, schema, last_good or fallback", f.Source))
	}
	if !named(f.Reason, int(schema.ReasonCount), func(i int) string { return schema.Reason(i).String() }) {
		return f, invalid("reason", fmt.Sprintf("found %.40q; want one of a decision's reasons", f.Reason))
	}
	return f, nil
}

// named reports whether text is empty or one of count names.
func named(text string, count int, name func(int) string) bool {
	for i := range count {
		if name(i) == text {
			return true
		}
	}
	return text == ""
}

// getDecisions lists the last decisions, the newest first.
func getDecisions(r *request) error {
	f, err := r.decisionFilter()
	if err != nil {
		return err
	}
	if r.live.Decisions == nil {
		return errNotLive
	}
	list := r.live.Decisions.List(f)
	return r.page(len(list), func(i int) (any, error) { return &list[i], nil })
}

// ToldDecision is a decision with its story, where that was kept.
type ToldDecision struct {
	Decision
	Story *Story `json:"story"`
}

func getDecision(r *request) error {
	project, err := r.onlyProject()
	if err != nil {
		return err
	}
	if r.live.Decisions == nil {
		return errNotLive
	}
	d, story, ok := r.live.Decisions.Find(r.arg("id"), project)
	if !ok {
		return notFound("such decision: only the last ones are remembered, and by the instance that made them")
	}
	if story != nil && story.BudgetMS > 0 && story.BudgetMS < milliseconds(r.config.Intake.Budget) {
		story = story.withBudget() // the PBX's own, and part of its question
	}
	return r.answer(ToldDecision{d, story})
}

// A stream ends after streamFor, and its reader comes back: a token that was revoked meanwhile then
// opens nothing any more. Between decisions a comment every beat keeps proxies from giving up.
const (
	streamFor  = 5 * time.Minute
	streamBeat = 15 * time.Second
	streamLook = 250 * time.Millisecond // how soon a stream notices that the server is closing
	maxStreams = 64
)

// streamDecisions shows decisions as they are made, as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). Who comes back with Last-Event-ID
// gets what it missed, as far as that is remembered.
func streamDecisions(r *request) error {
	f, err := r.decisionFilter()
	if err != nil {
		return err
	}
	if r.live.Decisions == nil {
		return errNotLive
	}
	if r.live.Decisions.watchers.count() >= maxStreams {
		return unavailable("too many are watching already")
	}
	seen, cancel := r.live.Decisions.Subscribe(f)
	missed := r.live.Decisions.since(f, r.header("Last-Event-ID"))
	s := &stream{server: r.Server, conn: r.http.Conn(), seen: seen}
	r.events(func(w *bufio.Writer) {
		defer cancel()
		s.run(w, missed)
	})
	return nil
}

// events answers with server-sent events, which write writes as they come.
func (r *request) events(write func(*bufio.Writer)) {
	r.http.SetContentType("text/event-stream")
	r.http.Response.Header.Set("Cache-Control", "no-store")
	r.http.Response.Header.Set("X-Accel-Buffering", "no") // nginx would keep it until it is a lot
	r.http.SetBodyStreamWriter(write)
}

// since returns the decisions that f selects and that were made after the one with the id was, oldest
// first. One that is not remembered is taken for older than all that are: an id tells its time.
func (ds *Decisions) since(f DecisionFilter, id string) []Decision {
	if id == "" {
		return nil
	}
	list := ds.List(f)
	made := func(d *Decision) time.Time { return d.At.Add(time.Duration(d.ElapsedMS * float64(time.Millisecond))) }
	at := slices.IndexFunc(list, func(d Decision) bool { return d.ID == id && !d.Repeated })
	after := func(d *Decision) bool { return d.ID > id }
	if at >= 0 {
		// By when it was made, not asked: a call that waits for its hook is asked before others and made after.
		known := made(&list[at])
		after = func(d *Decision) bool { return made(d).After(known) }
	}
	list = slices.DeleteFunc(list, func(d Decision) bool { return !after(&d) })
	slices.SortStableFunc(list, func(a, b Decision) int { return made(&a).Compare(made(&b)) })
	return list[max(0, len(list)-watcherBacklog):]
}

// stream is one reader's.
type stream struct {
	server *Server
	conn   interface{ SetWriteDeadline(time.Time) error }
	seen   <-chan Decision
}

// run writes until the reader is gone, the stream is over or the server closes.
func (s *stream) run(w *bufio.Writer, missed []Decision) {
	fmt.Fprint(w, "retry: 1000\n\n")
	written := make(map[string]bool, len(missed)) // those made just now may be among what is seen as well
	for i := range missed {
		written[missed[i].ID] = !missed[i].Repeated
		writeEvent(w, &missed[i])
	}
	if !s.flush(w) {
		return
	}
	look := time.NewTicker(streamLook)
	defer look.Stop()
	end, beat := time.Now().Add(streamFor), time.Now().Add(streamBeat)
	for {
		select {
		case d := <-s.seen:
			if d.Repeated || !written[d.ID] {
				writeEvent(w, &d)
			}
			if len(s.seen) > 0 {
				continue // more go out together
			}
		case now := <-look.C:
			if s.server.closing.Load() || now.After(end) {
				return
			}
			if now.Before(beat) {
				continue
			}
			fmt.Fprint(w, ": still here\n\n")
		}
		beat = time.Now().Add(streamBeat)
		if !s.flush(w) {
			return
		}
	}
}

// flush sends what has been written, and reports whether it could. Each time anew the reader has as
// long as for any answer: fasthttp would count that from the stream's beginning.
func (s *stream) flush(w *bufio.Writer) bool {
	_ = s.conn.SetWriteDeadline(time.Now().Add(readTimeout)) // fails where writing will
	return w.Flush() == nil
}

func writeEvent(w *bufio.Writer, d *Decision) {
	body, err := json.Marshal(d)
	if err != nil {
		return // strings and numbers can always be written
	}
	fmt.Fprintf(w, "event: decision\nid: %s\ndata: %s\n\n", d.ID, body)
}
