package console

import (
	"encoding/json"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// The live list: decisions as they are made, and the story of one.

// decided is a decision as the API tells of it.
type decided struct {
	ID        string    `json:"decision_id"`
	At        time.Time `json:"at"`
	CallID    string    `json:"callid"`
	Project   string    `json:"project"`
	Version   uint64    `json:"version"`
	Caller    string    `json:"caller"`
	Callee    string    `json:"callee"`
	Source    string    `json:"source"`
	Reason    string    `json:"reason"`
	Schema    string    `json:"schema"`
	Hook      string    `json:"hook"`
	DstPhone  string    `json:"dst_phone"`
	ElapsedMS float64   `json:"elapsed_ms"`
	Repeated  bool      `json:"repeated"`
	NotFound  bool      `json:"not_found"`
	Detail    string    `json:"detail"`
	Warnings  []string  `json:"warnings"`
	Attempts  []attempt `json:"attempts"`
	Lost      int       `json:"lost"`
}

// attempt is one request to a webhook; what was sent and answered is there where the story was kept.
type attempt struct {
	URL     string  `json:"url"`
	BeganMS float64 `json:"began_ms"`
	TookMS  float64 `json:"took_ms"`
	Status  int     `json:"status"`
	Reason  string  `json:"reason"`
	Error   string  `json:"error"`
	Request string  `json:"request"`
	Answer  string  `json:"answer"`
}

// story is all there is to tell of a decision.
type story struct {
	Question map[string]string `json:"question"`
	Control  map[string]string `json:"control"`
	Trail    []string          `json:"trail"`
	Attempts []attempt         `json:"attempts"`
	Steps    []object          `json:"steps"`
	BudgetMS float64           `json:"budget_ms"`
}

var liveFilters = []string{"number", "hook", "reason", "source", "callid", "project"}

// liveFilter reads what the list is limited to.
func (v *visit) liveFilter() (url.Values, map[string]string) {
	q, filter := url.Values{}, map[string]string{}
	for _, name := range liveFilters {
		if filter[name] = strings.TrimSpace(v.query(name)); filter[name] != "" {
			q.Set(name, filter[name])
		}
	}
	return q, filter
}

// live shows the last decisions, to which the stream adds.
func (v *visit) live() error {
	q, filter := v.liveFilter()
	stream := maps.Clone(q)
	q.Set("per_page", "50")
	var found struct {
		Data []decided `json:"data"`
	}
	err := v.get("", "/decisions", q, &found)
	wrong := wrongFields(err)
	if err != nil && wrong == nil {
		return err
	}
	stream.Set("after", lastMade(found.Data))
	rows := make([]liveRow, len(found.Data))
	for i := range found.Data {
		rows[i] = v.row(&found.Data[i])
	}
	return v.render(fasthttp.StatusOK, page{Name: "live", Nav: "live", Data: map[string]any{
		"Rows": rows, "Filter": filter, "Stream": "/live/stream?" + stream.Encode(), "Wrong": wrong, "Reasons": reasonNames(), "Sources": sourceNames(),
	}})
}

// lastMade is the id of the decision that was made last, so that the stream goes on where the list ends;
// of none, an id older than all others.
func lastMade(list []decided) string {
	id, made := strings.Repeat("0", 26), time.Time{}
	for i := range list {
		if at := list[i].At.Add(time.Duration(list[i].ElapsedMS * float64(time.Millisecond))); at.After(made) && !list[i].Repeated {
			id, made = list[i].ID, at
		}
	}
	return id
}

func reasonNames() []string {
	names := make([]string, schema.ReasonCount)
	for i := range names {
		names[i] = schema.Reason(i).String()
	}
	return names
}

func sourceNames() []string {
	names := make([]string, schema.SourceCount)
	for i := range names {
		names[i] = schema.Source(i).String()
	}
	return names
}

// liveRow is a decision as the list shows it, in the visitor's words.
type liveRow struct {
	ID         string `json:"id"`
	At         string `json:"at"`
	Caller     string `json:"caller"`
	Callee     string `json:"callee"`
	Project    string `json:"project"`
	Hook       string `json:"hook"`
	Source     string `json:"source"`
	SourceTone string `json:"source_tone"`
	Reason     string `json:"reason"`
	ReasonTone string `json:"reason_tone"`
	Dst        string `json:"dst"`
	Took       string `json:"took"`
	Note       string `json:"note"`
}

func (v *visit) row(d *decided) liveRow {
	say := func(section, name string) string { return v.texts.get(v.lang, section+"."+name) }
	r := liveRow{
		ID: d.ID, At: d.At.UTC().Format(time.RFC3339Nano), Caller: d.Caller, Callee: d.Callee, Project: d.Project, Hook: d.Hook,
		Source: say("source", d.Source), SourceTone: tone(d.Source), Reason: say("reason", d.Reason), ReasonTone: tone(d.Reason),
		Dst: strings.ReplaceAll(d.DstPhone, ",", ", "), Took: v.texts.get(v.lang, "unit.ms", shortFloat(d.ElapsedMS)),
	}
	if d.Hook == "" {
		r.Hook = d.Schema
	}
	if d.Repeated {
		r.Note = say("live", "repeated")
	}
	if d.Lost > 0 {
		r.Note = v.texts.count(v.lang, "live.lost", d.Lost)
	}
	return r
}

// liveStream passes the API's stream of decisions on, each in the visitor's words.
func (v *visit) liveStream() error {
	q, _ := v.liveFilter()
	after := string(v.http.Request.Header.Peek("Last-Event-ID"))
	if after == "" {
		after = v.query("after")
	}
	return v.stream("/decisions/stream", q, after, func(v *visit, data []byte) (any, error) {
		var d decided
		err := json.Unmarshal(data, &d)
		return v.row(&d), err
	})
}

// decision tells the whole story of one.
func (v *visit) decision() error {
	var d struct {
		decided
		Story *story `json:"story"`
	}
	if err := v.get("", "/decisions/"+segment(v.args["id"]), nil, &d); err != nil {
		return err
	}
	return v.render(fasthttp.StatusOK, page{
		Name: "decision", Nav: "live", Title: v.texts.get(v.lang, "page.decision"),
		Data: map[string]any{"Told": v.told(&d.decided, d.Story), "Again": againOf(&d.decided, d.Story), "Curl": v.curlOf(&d.decided, d.Story)},
	})
}

// told is a decision and its story, ready to be drawn.
type told struct {
	*decided
	Story    *story
	Attempts []timedAttempt
	BudgetMS float64 // what the time line is as long as
	Question []pair
	Trail    []string
	Project  string
}

type pair struct{ Name, Value string }

// timedAttempt is an attempt with its place on the time line, which is 1000 wide.
type timedAttempt struct {
	attempt
	N                int
	X, Width         float64
	Due              float64
	Failed           bool
	BeganAt, EndedAt string
}

// told puts what there is in order. Without a story there is the outline: the attempts' times.
func (v *visit) told(d *decided, s *story) told {
	t := told{decided: d, Story: s, Project: d.Project}
	attempts := d.Attempts
	end := d.ElapsedMS
	if s != nil {
		if len(s.Attempts) > 0 {
			attempts = s.Attempts
		}
		for _, name := range sortedKeys(s.Question) {
			t.Question = append(t.Question, pair{name, s.Question[name]})
		}
		for _, name := range sortedKeys(s.Control) {
			t.Question = append(t.Question, pair{name, s.Control[name]})
		}
		t.BudgetMS = s.BudgetMS
		for _, line := range s.Trail {
			first, _, _ := strings.Cut(line, "\n") // what was sent and received stands with the attempt
			t.Trail = append(t.Trail, first)
		}
	}
	for i := range attempts {
		end = max(end, attempts[i].BeganMS+attempts[i].TookMS)
	}
	// The line is as long as the decision took, and shows the deadline where that is near enough to be
	// seen beside it.
	scale := max(end, 0.1)
	if t.BudgetMS > 0 && t.BudgetMS <= 10*scale {
		scale = max(scale, t.BudgetMS)
	}
	for i, a := range attempts {
		one := timedAttempt{
			attempt: a, N: i + 1, X: 1000 * a.BeganMS / scale, Width: max(4, 1000*a.TookMS/scale), Failed: a.Reason != "ok",
			BeganAt: shortFloat(a.BeganMS), EndedAt: shortFloat(a.BeganMS + a.TookMS),
		}
		if t.BudgetMS > 0 && t.BudgetMS <= scale {
			one.Due = 1000 * t.BudgetMS / scale
		}
		t.Attempts = append(t.Attempts, one)
	}
	return t
}

// questionOf is the question that was asked, its control parameters included: what is asked again.
func questionOf(d *decided, s *story) url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("caller", d.Caller)
	set("callee", d.Callee)
	if s != nil {
		for name, value := range s.Question {
			set(name, value)
		}
		for name, value := range s.Control {
			set(name, value)
		}
	}
	set("project", d.Project)
	return q
}

// againOf is the path that tries the same call once more. Its id stays behind: with it, it would be the
// lookup sent again. But a cursor is good for that id alone.
func againOf(d *decided, s *story) string {
	q := questionOf(d, s)
	if !q.Has("cursor") {
		q.Del("callid")
	}
	return "/try?" + q.Encode()
}

// curlOf is the question as a command line, against the PBX's listener.
func (v *visit) curlOf(d *decided, s *story) string {
	q := questionOf(d, s)
	if !q.Has("cursor") {
		q.Set("callid", "again-"+strconv.FormatInt(d.At.UnixMilli(), 10))
	}
	return "curl '" + v.address() + "/v1/route?" + strings.ReplaceAll(q.Encode(), "'", "%27") + "'"
}
