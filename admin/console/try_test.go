package console

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"hookswitch/admin"
	"hookswitch/schema"
)

func TestEveryParameterOfTheCatalogueHasItsFieldAndKeepsItsValue(t *testing.T) {
	h := newHouse(t)
	q := url.Values{"project": {"own"}, "budget_ms": {"250"}, "cursor": {"a-cursor"}, "done": {"a custom one"}}
	for p := range schema.ParamCount {
		q.Set(p.Name(), "said of "+p.Name())
	}
	page := h.signIn(opsToken).get("/try?" + q.Encode()).body
	for p := range schema.ParamCount {
		if n := strings.Count(page, `name="p.`+p.Name()+`" value="said of `+p.Name()+`"`); n != 1 {
			t.Errorf("%s: found %d fields with its value; want 1", p.Name(), n)
		}
	}
	for _, want := range []string{`name="budget_ms" value="250"`, `name="cursor" value="a-cursor"`, "done: a custom one"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
}

func TestAskingAgainAsksTheSameQuestion(t *testing.T) {
	h, _, ds := busyHouse(t)
	v := h.signIn(opsToken)
	for n, tc := range []struct {
		name   string
		change func(*schema.Call)
		again  url.Values // beside what is in each
		curl   url.Values
	}{
		{"of a hook", func(c *schema.Call) { c.Hook = "crm" }, url.Values{"hook": {"crm"}, "callid": {""}}, url.Values{"hook": {"crm"}}},
		{"of a scheme", func(c *schema.Call) { c.Schema = "1" }, url.Values{"schema": {"1"}}, url.Values{"schema": {"1"}}},
		{"of a call that goes on", func(c *schema.Call) { c.Cursor = "a.cursor" }, url.Values{"cursor": {"a.cursor"}, "callid": {"the-call"}}, url.Values{"cursor": {"a.cursor"}, "callid": {"the-call"}}},
		{"of an impatient PBX", func(c *schema.Call) { c.Deadline = c.At.Add(250 * time.Millisecond) }, url.Values{"budget_ms": {"250"}}, url.Values{"budget_ms": {"250"}}},
	} {
		call := &schema.Call{At: time.Now(), Explain: true}
		said := map[string]string{"caller": "380501112233", "callee": "380442223344", "waittime": "7", "of my own": "it's"}
		for name, value := range said {
			call.SetNamed([]byte(name), []byte(value))
		}
		call.SetNamed([]byte("callid"), []byte("the-call"))
		tc.change(call)
		d := &schema.Decision{CallID: "the-call", Project: "own", Trail: []string{"    0.1 ms  asking hook crm"}}
		copy(d.ID[:], strings.Repeat("0", 25)+string(rune('1'+n)))
		ds.Observe(call, d)
		page := v.get("/decisions/" + string(d.ID[:])).body
		said["project"] = "own"
		for begins, wanted := range map[string]url.Values{`href="/try?`: tc.again, `curl 'http://127.0.0.1:8077/v1/route?`: tc.curl} {
			found := linkWith(t, page, begins)
			for name, value := range said {
				if found.Get(name) != value {
					t.Errorf("%s: %s has %s %q; want %q", tc.name, begins, name, found.Get(name), value)
				}
			}
			for name := range wanted {
				if found.Get(name) != wanted.Get(name) {
					t.Errorf("%s: %s has %s %q; want %q", tc.name, begins, name, found.Get(name), wanted.Get(name))
				}
			}
		}
	}
}

// linkWith returns the query of what begins so in a page.
func linkWith(t *testing.T, page, begins string) url.Values {
	t.Helper()
	_, rest, found := strings.Cut(html.UnescapeString(page), begins)
	rest = rest[:max(0, strings.IndexAny(rest, `"'<`))]
	q, err := url.ParseQuery(rest)
	if !found || err != nil {
		t.Fatalf("the page has no %s: %v", begins, err)
	}
	return q
}

func TestTheWalkShowsHoursAndEachHookWithWhatCameOfIt(t *testing.T) {
	trail := []string{
		`    0.1 ms  following schema 100 "Ask \"the\" CRM"`,
		"    0.1 ms  asking hook crm",
		"    0.2 ms  attempt 1: https://crm.example/route took 1.0 ms: timeout\n              sent:\n                GET /",
		"    1.2 ms  timeout: no answer in time",
		"    1.2 ms  asking hook second",
		"    2.2 ms  schema 7 is closed at this hour",
		"    2.2 ms  closed: outside the working hours of schema 7",
		"    2.3 ms  on_failure of hook second",
		"    2.3 ms  hook third is passed over: a fallback asks nobody",
		"    2.3 ms  the last good answer of hook second stands in",
		"    2.4 ms  loop: schema 1 leads back to itself",
		"    2.4 ms  what is remembered of the caller is left out: anything",
	}
	var got []string
	for _, n := range walked(trail, "/p/own/") {
		line := n.Kind + " " + n.Reason
		if n.To != nil {
			line += " " + n.To.Href + " " + n.To.Name
		}
		got = append(got, strings.TrimSpace(line))
	}
	want := []string{
		`schema  /p/own/schemas/100 Ask "the" CRM`, "hook timeout /p/own/hooks/crm", "hook ok /p/own/hooks/second", "hours closed /p/own/schemas/7",
		"fallback  /p/own/hooks/second", "hook  /p/own/hooks/third", "fallback  /p/own/hooks/second", "warning loop",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestACallThatIsTriedIsShownWithItsWalk(t *testing.T) {
	h := newHouse(t, func(o *admin.Options) { o.Live.Rehearse = closedAtNight{} })
	a := h.signIn(opsToken).post("/try", url.Values{"project": {"own"}, "p.callee": {"380442223344"}, "format": {"json"}})
	for _, want := range []string{"Closed at this hour", `href="/p/own/schemas/100"`, "Nothing to dial"} {
		if a.status != http.StatusOK || !strings.Contains(a.body, want) {
			t.Errorf("found %d without %q", a.status, want)
		}
	}
}

// closedAtNight rehearses nothing but that.
type closedAtNight struct{}

func (closedAtNight) Rehearse(_ *schema.Call, d *schema.Decision, _ func(*schema.Project, *schema.Hook, *schema.Call, time.Time, *schema.Answer)) {
	d.Source, d.Reason = schema.SourceFallback, schema.ReasonClosed
	d.Trail = []string{"    0.1 ms  schema 100 is closed at this hour", "    0.1 ms  closed: outside the working hours of schema 100"}
}
