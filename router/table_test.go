package router

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"hookswitch/schema"
)

// routerOf returns a router whose hooks are made by prepare.
func routerOf(t testing.TB, prepare func(*schema.Project, *schema.Hook) (Asker, error)) *Router {
	r := New(Options{Prepare: prepare, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(), Now: time.Now})
	t.Cleanup(r.Close)
	return r
}

func soundProject(t testing.TB, text string) *schema.Project {
	t.Helper()
	p := &schema.Project{}
	if err := schema.DecodeResource([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	if err := schema.CheckProject(p, &schema.Config{DefaultSchema: "z/1"}); err != nil {
		t.Fatal(err)
	}
	return p
}

func projectOf(t testing.TB, id string, numbers ...string) *schema.Project {
	text := ""
	for i, n := range numbers {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(`{"number":%q,"schema":"1"}`, n)
	}
	return soundProject(t, fmt.Sprintf(`{"id":%q,"numbers":[%s],"schemas":[{"id":"1","steps":[{"hook":"h"},{"hangup":"busy"}]}],
		"hooks":[{"id":"h","url":"http://127.0.0.1:9/"}]}`, id, text))
}

func TestALoadTakesOverTheProjectsThatAreTheSame(t *testing.T) {
	prepared := 0
	r := routerOf(t, func(*schema.Project, *schema.Hook) (Asker, error) { prepared++; return &answerer{}, nil })
	z, a, b := projectOf(t, "z"), projectOf(t, "a", "380440000001"), projectOf(t, "b", "380440000002")
	load := func(defaultSchema string, dial schema.Dialing, projects ...*schema.Project) map[string]*project {
		t.Helper()
		if err := r.Load(&schema.Config{DefaultSchema: defaultSchema, Dial: dial, Projects: projects}); err != nil {
			t.Fatal(err)
		}
		return r.table.Load().projects
	}
	before := load("z/1", schema.Dialing{}, z, a, b)
	b2 := projectOf(t, "b", "380440000003")
	after := load("z/1", schema.Dialing{}, z, a, b2)
	if after["a"] != before["a"] || after["z"] != before["z"] || after["b"] == before["b"] || prepared != 3 {
		t.Errorf("a and z are made anew, or b is not; %d hooks were prepared, want 3, as b's is as it was", prepared)
	}
	table := r.table.Load()
	if table.lookup("380440000002") != nil || table.lookup("+380440000003").project != after["b"] || table.lookup("380440000001").project != after["a"] {
		t.Error("the numbers are not those of the projects in use")
	}
	if moved := load("z/1", schema.Dialing{}, projectOf(t, "z"), a, b2); moved["a"] == after["a"] || moved["a"].fallback.project != moved["z"] {
		t.Error("a project falls back on a scheme that is no longer in use")
	}
	if none := load("", schema.Dialing{}, z, a); none["a"].fallback != nil || none["z"].fallback != nil {
		t.Error("the installation has no default any more, and somebody falls back on it")
	}
	if again := load("z/1", schema.Dialing{}, z, a); again["a"].fallback != again["z"].schemes["1"] || again["z"].fallback != again["z"].schemes["1"] {
		t.Error("the installation has a default again, and somebody does without")
	}
	dial := schema.Dialing{Asterisk: schema.DialTemplates{Number: "SIP/{{number}}"}}
	if with := load("z/1", dial, z, a); with["a"].dialing.Asterisk.Number != "SIP/{{number}}" {
		t.Error("a project is dialled by templates that have changed since")
	}
}

func TestAHookIsMadeAnewWhereItsCertificatesHaveChangedAndOnlyThere(t *testing.T) {
	var failing error
	prepared := 0
	r := routerOf(t, func(*schema.Project, *schema.Hook) (Asker, error) { prepared++; return &answerer{}, failing })
	load := func(contents byte) (*hook, error) {
		p := projectOf(t, "a", "380440000001")
		p.Hooks[0].TLS = schema.TLS{CA: "ca.pem", Contents: [32]byte{contents}}
		err := r.Load(&schema.Config{DefaultSchema: "a/1", Projects: []*schema.Project{p}})
		return r.table.Load().projects["a"].hooks["h"], err
	}
	first, _ := load(1)
	if again, err := load(1); again != first || err != nil || prepared != 1 {
		t.Errorf("with the same contents: prepared %d times, %v; want the hook kept, with its connections and breaker", prepared, err)
	}
	second, err := load(2)
	if second == first || err != nil || prepared != 2 {
		t.Errorf("with new contents: prepared %d times, %v; want the hook made anew", prepared, err)
	}
	failing = errors.New("it holds no PEM certificate")
	if kept, err := load(3); kept != second || !errors.Is(err, failing) {
		t.Errorf("with contents that can't be used: got %v; want that error, and the hook as it was", err)
	}
}

func TestAProjectThatCantBeMadeReadyIsNamedAndTheTableStays(t *testing.T) {
	bad := errors.New("no such certificate")
	r := routerOf(t, func(p *schema.Project, _ *schema.Hook) (Asker, error) {
		if p.ID == "b" {
			return nil, bad
		}
		return &answerer{}, nil
	})
	if err := r.Load(&schema.Config{Projects: []*schema.Project{projectOf(t, "a", "380440000001")}}); err != nil {
		t.Fatal(err)
	}
	err := r.Load(&schema.Config{Projects: []*schema.Project{projectOf(t, "a"), projectOf(t, "b")}})
	var culprit interface{ Project() string }
	if !errors.As(err, &culprit) || culprit.Project() != "b" || !errors.Is(err, bad) {
		t.Errorf("got %v; want it to name project b and the cause", err)
	}
	if r.Version() != 1 || r.table.Load().lookup("380440000001") == nil {
		t.Error("the table has changed")
	}
}

// An index that follows changes finds what one made anew finds.
func TestAnIndexThatFollowsChangesFindsWhatAMapDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var pace schema.Pace
	projects := map[string]*project{}
	x := newIndex(projects, &pace)
	for step := range 300 {
		id := fmt.Sprint(r.IntN(12))
		var gone, come []*project
		if was := projects[id]; was != nil {
			gone = append(gone, was)
			delete(projects, id)
		}
		if r.IntN(4) > 0 {
			p := &project{numbers: make([]number, r.IntN(1+40*(step%7)))}
			for i := range p.numbers {
				p.numbers[i] = number{conf: &schema.Number{Number: fmt.Sprintf("%s%s%04d", []string{"", "0", "00"}[i%3], "38044"+id, i)}, project: p}
			}
			come = append(come, p)
			projects[id] = p
		}
		if next := x.with(gone, come, &pace); next != nil {
			x = next
		} else {
			x = newIndex(projects, &pace)
		}
		want := map[string]*number{}
		for _, p := range projects {
			for i := range p.numbers {
				want[p.numbers[i].conf.Number] = &p.numbers[i]
			}
		}
		if x.count != len(want) {
			t.Fatalf("step %d: counts %d; want %d", step, x.count, len(want))
		}
		for i := range 3000 {
			digits := fmt.Sprintf("%s%s%04d", []string{"", "0", "00"}[i%3], "38044"+fmt.Sprint(i%12), r.IntN(250))
			if got := x.find(digits); got != want[digits] {
				t.Fatalf("step %d: %s: got %v; want %v", step, digits, got, want[digits])
			}
		}
		for digits, n := range want {
			if x.find(digits) != n {
				t.Fatalf("step %d: %s is not found", step, digits)
			}
		}
	}
	for _, text := range []string{"", "abc", "12a", "1234567890123456789", "+1", " 1", "١٢"} {
		if x.find(text) != nil {
			t.Errorf("%q is found", text)
		}
	}
}

func TestALookupAllocatesNothing(t *testing.T) {
	r := routerOf(t, func(*schema.Project, *schema.Hook) (Asker, error) { return &answerer{}, nil })
	if err := r.Load(&schema.Config{Projects: []*schema.Project{projectOf(t, "a", "380440000001")}}); err != nil {
		t.Fatal(err)
	}
	table := r.table.Load()
	if n := testing.AllocsPerRun(100, func() { table.lookup("380440000001"); table.lookup("nobody") }); n != 0 {
		t.Errorf("%v allocations; want none", n)
	}
}

func BenchmarkALoadThatChangesOneOf1000Projects(b *testing.B) {
	r := routerOf(b, func(*schema.Project, *schema.Hook) (Asker, error) { return &answerer{}, nil })
	cfg := &schema.Config{DefaultSchema: "z/1"}
	numbers := func(i int) (list []string) {
		for j := range 100 {
			list = append(list, fmt.Sprintf("38044%03d%04d", i, j))
		}
		return list
	}
	for i := range 1000 {
		cfg.Projects = append(cfg.Projects, projectOf(b, fmt.Sprint("p", i), numbers(i)...))
	}
	other := [2]*schema.Project{cfg.Projects[500], projectOf(b, "p500", numbers(500)...)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		cfg.Projects[500] = other[i%2]
		if err := r.Load(cfg); err != nil {
			b.Fatal(err)
		}
	}
}
