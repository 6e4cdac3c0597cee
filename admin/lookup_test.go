package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"hookswitch/control"
	"hookswitch/schema"
	"hookswitch/store"
)

// planeOn is a control plane of the file on a store, as another instance would have.
func planeOn(t *testing.T, s store.Store) *control.Plane {
	t.Helper()
	plane := control.New(control.Options{
		Store: s, Apply: func(*schema.Config) error { return nil }, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(), Now: time.Now,
	})
	cfg, err := schema.Load("hookswitch.yaml", []byte(fileText), schema.LoadOptions{})
	if err == nil {
		err = plane.SetFile(cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return plane
}

// The house's own plane is not run here, so that it stays behind what the other one changes.
func TestWhatAnotherInstanceChangedAMomentAgoIsNeitherMissingNorInTheWay(t *testing.T) {
	h := newHouse(t)
	other := planeOn(t, h.store)
	alter := func(project string, change func(*schema.Project)) uint64 {
		t.Helper()
		version, err := other.Update(t.Context(), "other", project, 0, func(p *schema.Project) error { change(p); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return version
	}
	var hook schema.Hook
	hook.SetDefaults()
	hook.ID, hook.URL = "erp", "https://erp.example/"
	alter("10553", func(p *schema.Project) { p.Hooks = append(p.Hooks, hook) })
	h.want(200, "GET", "/api/v1/hooks/erp", opsToken, "")

	version := alter("10553", func(p *schema.Project) { p.Name = "Renamed" })
	h.want(200, "PUT", "/api/v1/hooks/erp", opsToken, `{"url":"https://erp.example/2"}`, "If-Match", etag("10553", version))
	h.want(412, "PUT", "/api/v1/hooks/erp", opsToken, `{"url":"https://erp.example/3"}`, "If-Match", etag("10553", version))
	h.want(200, "PUT", "/api/v1/hooks/erp", opsToken, `{"url":"https://erp.example/4"}`, "If-Match", "*")

	alter("10553", func(p *schema.Project) {
		p.Schemas = append(p.Schemas, schema.Scheme{ID: "new", Steps: []schema.Step{{Hangup: "busy"}}})
	})
	h.want(201, "POST", "/api/v1/numbers", opsToken, `{"number":"380442223355","schema":"new"}`)

	p := &schema.Project{}
	p.SetDefaults()
	p.ID, p.DefaultSchema, p.Schemas = "theirs", "1", []schema.Scheme{{ID: "1", Steps: []schema.Step{{Hangup: "busy"}}}}
	if _, err := other.Create(t.Context(), "other", p); err != nil {
		t.Fatal(err)
	}
	h.want(201, "POST", "/api/v1/tokens", opsToken, `{"name":"ci","scopes":["read"],"project":"theirs"}`)
	h.want(200, "GET", "/api/v1/projects/theirs", opsToken, "")
	h.want(404, "GET", "/api/v1/projects/nobodys", opsToken, "")
}

func TestAProjectThatIsNotInUseIsShownMendedAndDeleted(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	for id, text := range map[string]string{"faulty": `{"id":"faulty","default_schema":"missing"}`, "newer": `{"id":"newer","from_a_newer_version":1}`} {
		if _, err := h.store.PutDoc(ctx, "project", id, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	shown := h.want(200, "GET", "/api/v1/projects/faulty", opsToken, "")
	if fault, _ := shown.json(t)["fault"].(string); !strings.Contains(fault, "default_schema") {
		t.Errorf("found %s; want to be told why it is not in use", shown.body)
	}
	if list := h.want(200, "GET", "/api/v1/projects", opsToken, "").body; strings.Count(list, `"fault"`) != 2 {
		t.Errorf("found %s; want the two that are not in use among the projects", list)
	}
	h.want(422, "POST", "/api/v1/projects", opsToken, `{"id":"faulty","default_schema":"1"}`)
	h.want(422, "PUT", "/api/v1/projects/faulty", opsToken, shown.body)
	mended := h.want(200, "PUT", "/api/v1/projects/faulty", opsToken,
		`{"default_schema":"1","schemas":[{"id":"1","steps":[{"hangup":"busy"}]}]}`, "If-Match", shown.header.Get("ETag"))
	if shown = h.want(200, "GET", "/api/v1/projects/faulty", opsToken, ""); shown.json(t)["fault"] != nil || shown.header.Get("ETag") != mended.header.Get("ETag") {
		t.Errorf("found %s; want it in use", shown.body)
	}
	tag := h.want(200, "GET", "/api/v1/projects/newer", opsToken, "").header.Get("ETag")
	if a := h.want(409, "PUT", "/api/v1/projects/newer", opsToken, `{"default_schema":"1"}`); !strings.Contains(a.body, "can't be read") {
		t.Errorf("found %s", a.body)
	}
	h.want(200, "DELETE", "/api/v1/projects/newer", opsToken, "", "If-Match", tag)
	h.want(404, "GET", "/api/v1/projects/newer", opsToken, "")
}

func TestAChangeThatIsStoredAndCantBeUsedSaysSo(t *testing.T) {
	for _, err := range []error{
		control.ErrNotApplied{Project: "a", Fault: errors.New("why")},
		control.ErrNotApplied{Project: "a", Fault: schema.Faults{{Key: "name", Found: "it", Want: "why"}}},
	} {
		if f := refusalOf(fmt.Errorf("wrapped: %w", err)); f.status != 500 || !strings.Contains(f.message, "is stored") || !strings.Contains(f.message, "why") {
			t.Errorf("found %d %s", f.status, f.message)
		}
	}
}

func TestAStoreThatDoesNotAnswerPromisesNothing(t *testing.T) {
	h, s, bodies := newUnsureHouse(t)
	s.puts.Store(true)
	a := h.want(503, "POST", "/api/v1/hooks", opsToken, bodies["/api/v1/hooks"])
	if message, _ := a.json(t)["message"].(string); !strings.Contains(message, "may or may not have been done") || strings.Contains(message, "nothing") || a.header.Get("Retry-After") == "" {
		t.Errorf("found %s", a.body)
	}
	s.puts.Store(false)
	h.want(200, "GET", "/api/v1/hooks/erp", opsToken, "") // it was
}
