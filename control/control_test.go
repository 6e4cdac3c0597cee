package control

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"hookswitch/schema"
	"hookswitch/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// instance is a Plane at work, with what it applied.
type instance struct {
	*Plane
	t     *testing.T
	from  string // the store's URL
	store store.Store
	log   *observer.ObservedLogs

	registry *prometheus.Registry
	stop     func()

	mu      sync.Mutex
	applied []*schema.Config // guarded by mu
	refuse  string           // guarded by mu: a project that can't be applied,
	unless  string           // guarded by mu: but with this name
}

type unusable struct{ id string }

func (u unusable) Error() string   { return "project " + u.id + " can't be used" }
func (u unusable) Project() string { return u.id }

// serve runs a Plane on a store until the test ends.
func serve(t *testing.T, url, file string) *instance {
	t.Helper()
	in := &instance{t: t, from: url, registry: prometheus.NewRegistry()}
	o := Options{Metrics: in.registry, Now: time.Now, Apply: in.apply, Prepare: in.prepare}
	core, log := observer.New(zap.InfoLevel)
	o.Log, in.log = zap.New(core), log
	if url != "" {
		s, err := store.Open(t.Context(), url)
		must(t, err)
		in.store, o.Store = s, s
	}
	in.Plane = New(o)
	must(t, in.SetFile(configOf(t, file)))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { in.Run(ctx) })
	in.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if in.store != nil {
			in.store.Close()
		}
	})
	t.Cleanup(in.stop)
	return in
}

func (in *instance) apply(c *schema.Config) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, p := range c.Projects {
		if p.ID == in.refuse && (p.Name != in.unless || in.unless == "") {
			return unusable{p.ID}
		}
	}
	in.applied = append(in.applied, c)
	return nil
}

// prepare refuses projects of one name.
func (in *instance) prepare(p *schema.Project) error {
	if p.Name == "unfit" {
		return schema.Faults{{Key: "name", Found: "unfit", Want: "fit"}}
	}
	return nil
}

// refusing has Apply refuse a project, but where it has that name; "" for any.
func (in *instance) refusing(id, unless string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.refuse, in.unless = id, unless
}

// shows prints the projects in use with their numbers, those of the last applied and of Current alike.
func (in *instance) shows() string {
	in.t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	var out []string
	for _, p := range in.applied[len(in.applied)-1].Projects {
		line := p.ID
		for _, n := range p.Numbers {
			line += " " + n.Number
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

// gauge returns the value of the metric hookswitch_NAME.
func (in *instance) gauge(name string) float64 {
	in.t.Helper()
	families, err := in.registry.Gather()
	must(in.t, err)
	for _, f := range families {
		if f.GetName() == "hookswitch_"+name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	in.t.Fatalf("there is no metric hookswitch_%s", name)
	return 0
}

func configOf(t *testing.T, text string) *schema.Config {
	t.Helper()
	c, err := schema.Load("hookswitch.yaml", []byte(text), schema.LoadOptions{})
	must(t, err)
	return c
}

// project is a sound one.
func project(id string, numbers ...string) *schema.Project {
	p := &schema.Project{}
	p.SetDefaults()
	p.ID, p.DefaultSchema = id, "1"
	step := schema.Step{Hangup: "busy"}
	p.Schemas = []schema.Scheme{{ID: "1", Steps: []schema.Step{step}}}
	for _, n := range numbers {
		p.Numbers = append(p.Numbers, schema.Number{Number: n, Schema: "1"})
	}
	return p
}

// number makes an update that gives the project one number.
func number(n string) func(*schema.Project) error {
	return func(p *schema.Project) error {
		p.Numbers = []schema.Number{{Number: n, Schema: "1"}}
		return nil
	}
}

const fileProject = `
projects:
  - {id: file, default_schema: "1", numbers: [{number: "380440000009", schema: "1"}], schemas: [{id: "1", steps: [{hangup: busy}]}]}`

func bolt(t *testing.T) string { return "bolt:" + filepath.Join(t.TempDir(), "hookswitch.db") }

func TestAProjectIsMadeChangedAndDeletedBesideTheFiles(t *testing.T) {
	ctx := t.Context()
	in := serve(t, bolt(t), fileProject)
	v1, err := in.Create(ctx, "ops", project("a", "380440000001"))
	must(t, err)
	if got := in.shows(); got != "file 380440000009; a 380440000001" {
		t.Errorf("made: got %s", got)
	}
	v2, err := in.Update(ctx, "ops", "a", v1, number("+380440000002"))
	must(t, err)
	if got := in.shows(); got != "file 380440000009; a 380440000002" || in.Current().Projects[1].Version != v2 || v2 <= v1 {
		t.Errorf("changed: got %s, version %d after %d", got, in.Current().Projects[1].Version, v1)
	}
	_, err = in.Update(ctx, "ops", "a", v1, number("380440000003"))
	wantErr(t, "a change of an old version", err, store.ErrConflict)
	_, err = in.Create(ctx, "ops", project("a"))
	wantErr(t, "a second one of that id", err, store.ErrConflict)
	_, err = in.Update(ctx, "ops", "b", 0, number("380440000003"))
	wantErr(t, "a change of none", err, store.ErrNotFound)
	wantErr(t, "deleting an old version", in.Delete(ctx, "ops", "a", v1), store.ErrConflict)
	wantErr(t, "deleting none", in.Delete(ctx, "ops", "b", 0), store.ErrNotFound)
	mine := errors.New("mine")
	_, err = in.Update(ctx, "ops", "a", 0, func(*schema.Project) error { return mine })
	wantErr(t, "a change that fails", err, mine)

	must(t, in.Delete(ctx, "ops", "a", v2))
	if got := in.shows(); got != "file 380440000009" {
		t.Errorf("deleted: got %s", got)
	}
	if _, err := in.Create(ctx, "ops", project("a")); err != nil {
		t.Errorf("made again: %v", err)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v; want %v", what, got, want)
	}
}

func TestWhatTheFileDeclaresIsChangedThere(t *testing.T) {
	in := serve(t, bolt(t), fileProject)
	ctx := t.Context()
	_, err1 := in.Create(ctx, "ops", project("file"))
	_, err2 := in.Update(ctx, "ops", "file", 0, number("1"))
	for _, err := range []error{err1, err2, in.Delete(ctx, "ops", "file", 0)} {
		var readOnly ErrReadOnly
		if !errors.As(err, &readOnly) || err.Error() != "project file is declared in hookswitch.yaml; change it there" {
			t.Errorf("got %v", err)
		}
	}
}

func TestAChangeIsCheckedAmongAllProjects(t *testing.T) {
	in := serve(t, bolt(t), fileProject)
	ctx := t.Context()
	_, err := in.Create(ctx, "ops", project("a", "380440000001"))
	must(t, err)
	bad := project("b")
	bad.Schemas[0].Steps[0] = schema.Step{Dial: []string{"no number"}, Strategy: "all", Timeout: time.Second}
	for key, err := range map[string]error{
		"numbers[0].number":           second(in.Create(ctx, "ops", project("b", "380440000009"))),
		"numbers[1].number":           second(in.Create(ctx, "ops", project("b", "443", "380440000001"))),
		"schemas[0].steps[0].dial[0]": second(in.Create(ctx, "ops", bad)),
		"name": second(in.Update(ctx, "ops", "a", 0, func(p *schema.Project) error {
			p.Name = "\n"
			return nil
		})),
	} {
		var faults schema.Faults
		if !errors.As(err, &faults) || faults[0].Key != key {
			t.Errorf("%s: got %v", key, err)
		}
	}
	if got := in.shows(); got != "file 380440000009; a 380440000001" {
		t.Errorf("got %s", got)
	}
}

func second(_ uint64, err error) error { return err }

func TestWithoutAStoreTheFileIsAllThereIs(t *testing.T) {
	in := serve(t, "", fileProject)
	_, err := in.Create(t.Context(), "ops", project("a"))
	wantErr(t, "making one", err, store.ErrUnavailable)
	_, err = in.Audit(t.Context(), "", "", 10)
	wantErr(t, "the audit trail", err, store.ErrUnavailable)
	if got := in.shows(); got != "file 380440000009" {
		t.Errorf("got %s", got)
	}
}

func TestWhatWasMadeIsThereAfterARestart(t *testing.T) {
	url := bolt(t)
	in := serve(t, url, fileProject)
	version, err := in.Create(t.Context(), "ops", project("a", "380440000001"))
	must(t, err)
	in.stop()
	in = serve(t, url, fileProject)
	eventually(t, "the project is in use", func() bool { return in.shows() == "file 380440000009; a 380440000001" })
	if got := in.Current().Projects[1].Version; got != version {
		t.Errorf("got version %d; want %d", got, version)
	}
}

func TestAFileThatIsReadAgainKeepsTheProjectsThatAreTheSame(t *testing.T) {
	in := serve(t, "", fileProject)
	was := in.Current().Projects[0]
	more := fileProject + `
  - {id: more, default_schema: "1", schemas: [{id: "1", steps: [{hangup: busy}]}]}`
	must(t, in.SetFile(configOf(t, more)))
	if now := in.Current().Projects; len(now) != 2 || now[0] != was {
		t.Error("a project that is the same has been replaced")
	}
	changed := configOf(t, strings.Replace(more, "380440000009", "380440000008", 1))
	must(t, in.SetFile(changed))
	if now := in.Current().Projects; now[0] == was || now[0].Numbers[0].Number != "380440000008" {
		t.Error("a project that has changed has not been replaced")
	}
	in.refusing("more", "")
	if err := in.SetFile(configOf(t, more)); err == nil || in.Current().Projects[0].Numbers[0].Number != "380440000008" {
		t.Errorf("a file that can't be applied: got %v; want the old one in use", err)
	}
}

func TestAFileThatIsReadAgainReplacesTheProjectsWhoseCertificatesHaveChanged(t *testing.T) {
	const text = `
projects:
  - {id: plain, default_schema: "1", schemas: [{id: "1", steps: [{hangup: busy}]}]}
  - {id: secured, default_schema: "1", schemas: [{id: "1", steps: [{hangup: busy}]}], hooks: [{id: h, url: "https://a.example/", tls: {ca: ca.pem}}]}
  - {id: other, default_schema: "1", schemas: [{id: "1", steps: [{hangup: busy}]}], hooks: [{id: h, url: "https://a.example/", tls: {ca: b.pem}}]}`
	load := func(ca string) *schema.Config {
		c, err := schema.Load("hookswitch.yaml", []byte(text), schema.LoadOptions{ReadFile: func(name string) ([]byte, error) {
			if name == "ca.pem" {
				return []byte(ca), nil
			}
			return []byte("b"), nil
		}})
		must(t, err)
		return c
	}
	in := serve(t, "", fileProject)
	must(t, in.SetFile(load("one")))
	was := in.Current().Projects
	must(t, in.SetFile(load("two")))
	now := in.Current().Projects
	if now[0] != was[0] || now[2] != was[2] {
		t.Error("a project whose certificates are as they were has been replaced")
	}
	if now[1] == was[1] {
		t.Error("a project whose certificate has changed has not been replaced")
	}
}

func TestADocumentThatIsFaultyIsLeftOutAndTheRestIsInUse(t *testing.T) {
	in := serve(t, bolt(t), fileProject)
	ctx := t.Context()
	v, err := in.Create(ctx, "ops", project("b", "380440000002"))
	must(t, err)
	for id, text := range map[string]string{"a": `{"id":"a","from_a_newer_version":1}`, "c": `{"id":"c","default_schema":"missing"}`, "d": "no JSON"} {
		_, err := in.store.PutDoc(ctx, "project", id, []byte(text), 0)
		must(t, err)
	}
	eventually(t, "three are told of", func() bool { return in.gauge("control_refused") == 3 })
	if got := in.shows(); got != "file 380440000009; b 380440000002" {
		t.Errorf("got %s", got)
	}
	if told := in.log.FilterMessageSnippet("left out").Len(); told < 3 {
		t.Errorf("%d faults in the log; want 3", told)
	}
	_, err = in.store.PutDoc(ctx, "project", "b", []byte(`{"id":"b","from_a_newer_version":1}`), v)
	must(t, err)
	eventually(t, "a fourth is told of", func() bool { return in.gauge("control_refused") == 4 })
	if got := in.shows(); got != "file 380440000009; b 380440000002" {
		t.Errorf("b by a newer version: got %s; want it as it was", got)
	}
	if _, err := in.Update(ctx, "ops", "c", 0, func(p *schema.Project) error { *p = *project("c", "380440000003"); return nil }); err != nil {
		t.Errorf("mending c: %v", err)
	}
	must(t, in.Delete(ctx, "ops", "a", 0))
	must(t, in.Delete(ctx, "ops", "d", 0))
	if got := in.shows(); got != "file 380440000009; b 380440000002; c 380440000003" || in.gauge("control_refused") != 1 {
		t.Errorf("got %s, %v refused", got, in.gauge("control_refused"))
	}
}

func TestTheAuditTrailTellsWhoWhenAndWhatWithoutSecrets(t *testing.T) {
	in := serve(t, bolt(t), fileProject)
	ctx := t.Context()
	p := project("a", "380440000001")
	var hook schema.Hook
	hook.SetDefaults()
	hook.ID, hook.URL, hook.Sign = "crm", "https://crm.example/", schema.NewSecret("hunter2-1")
	p.Hooks = []schema.Hook{hook}
	_, err := in.Create(ctx, "anna", p)
	must(t, err)
	v2, err := in.Update(ctx, "boris", "a", 0, func(p *schema.Project) error {
		p.Hooks[0].Sign, p.Hooks[0].Method = schema.NewSecret("hunter2-2"), "POST"
		p.Numbers = append([]schema.Number{{Number: "380440000002", Schema: "1"}}, p.Numbers...)
		return nil
	})
	must(t, err)
	_, err = in.Create(ctx, "anna", project("b"))
	must(t, err)
	must(t, in.Delete(ctx, "clara", "a", 0))

	list, err := in.Audit(ctx, "a", "", 10)
	must(t, err)
	if len(list) != 3 || list[0].Action != "delete" || list[0].Who != "clara" || list[1].Action != "update" || list[1].Version != v2 || list[2].Who != "anna" {
		t.Fatalf("got %+v", list)
	}
	want := "[{hooks[crm].method GET POST} {hooks[crm].sign *** ***} {numbers[380440000002]  380440000002}]"
	if got := fmt.Sprint(sortedDifferences(list[1].Fields)); got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	if text := fmt.Sprintf("%+v", list); strings.Contains(text, "hunter2") || list[1].At.IsZero() {
		t.Errorf("got %s", text)
	}
	rest, err := in.Audit(ctx, "", list[0].ID, 10)
	must(t, err)
	all, err := in.Audit(ctx, "", "", 10)
	must(t, err)
	if len(all) != 4 || all[1].Project != "b" || len(rest) > 4 {
		t.Errorf("of all projects: got %+v", all)
	}
	page, err := in.Audit(ctx, "", all[1].ID, 1)
	must(t, err)
	if len(page) != 1 || page[0].ID != all[2].ID {
		t.Errorf("the page after %s: got %+v", all[1].ID, page)
	}
}

func sortedDifferences(list []schema.Difference) []schema.Difference {
	for i := range list {
		for j := i + 1; j < len(list); j++ {
			if list[j].Key < list[i].Key {
				list[i], list[j] = list[j], list[i]
			}
		}
	}
	return list
}
