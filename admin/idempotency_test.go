package admin

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hookswitch/store"
)

func TestACreateWithTheSameKeyIsDoneOnce(t *testing.T) {
	h := newHouse(t)
	for path, body := range map[string]string{
		"/api/v1/webhooks": `{"url":"https://test.com","event":"create"}`,
		"/api/v1/incoming": `{"key":"phone"}`,
		"/api/v1/tokens":   `{"name":"ci","scopes":["read"]}`,
		"/api/v1/hooks":    `{"id":"erp","url":"https://erp.example"}`,
		"/api/v1/projects": `{"id":"new","default_schema":"1","schemas":[{"id":"1","steps":[{"hangup":"busy"}]}]}`,
	} {
		first := h.ask("POST", path, opsToken, body, "Idempotency-Key", "k1")
		total := h.want(200, "GET", path, opsToken, "").json(t)["total"]
		again := h.ask("POST", path, opsToken, body, "Idempotency-Key", "k1")
		if again.status != first.status || again.body != first.body || again.header.Get("Location") != first.header.Get("Location") || first.status/100 != 2 {
			t.Errorf("%s: found %d %s; want the first answer again, %d %s", path, again.status, again.body, first.status, first.body)
		}
		if now := h.want(200, "GET", path, opsToken, "").json(t)["total"]; now != total {
			t.Errorf("%s: found %v in all; want %v", path, now, total)
		}
		if a := h.ask("POST", path, opsToken, strings.Replace(body, "{", "{ ", 1), "Idempotency-Key", "k1"); a.status != 422 {
			t.Errorf("%s with another body: found %d %s; want 422", path, a.status, a.body)
		}
	}
	h.want(400, "POST", "/api/v1/hooks", opsToken, `{}`, "Idempotency-Key", strings.Repeat("k", 256))
}

func TestAKeyIsItsTokensAndItsProjectsOwn(t *testing.T) {
	h := newHouse(t)
	body := `{"url":"https://test.com","event":"create"}`
	places := map[string]bool{}
	for _, q := range [][]string{{opsToken, "/api/v1/webhooks"}, {ownToken, "/api/v1/webhooks"}, {opsToken, "/api/v1/webhooks?project=10553"}} {
		places[h.want(200, "POST", q[1], q[0], body, "Idempotency-Key", "k").header.Get("Location")] = true
	}
	if len(places) != 3 {
		t.Errorf("found %v; want three webhooks", places)
	}
}

func TestAKeyWhoseRequestWasRefusedMayBeUsedAgain(t *testing.T) {
	h := newHouse(t)
	h.want(422, "POST", "/api/v1/hooks", opsToken, `{"id":"erp"}`, "Idempotency-Key", "k")
	h.want(201, "POST", "/api/v1/hooks", opsToken, `{"id":"erp","url":"https://erp.example"}`, "Idempotency-Key", "k")
}

func TestOfCreatesAtOnceWithTheSameKeyOneAloneIsDone(t *testing.T) {
	h := newHouse(t)
	var mu sync.Mutex
	places, underWay := map[string]bool{}, 0
	var all sync.WaitGroup
	for range racers {
		all.Go(func() {
			a, err := h.try("POST", "/api/v1/webhooks", opsToken, `{"url":"https://test.com","event":"create"}`, "Idempotency-Key", "k")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case a.status == 200:
				places[a.header.Get("Location")] = true
			case a.status == 409 && a.header.Get("Retry-After") != "":
				underWay++
			default:
				t.Errorf("found %d %s; want 200, or 409 and when to come back", a.status, a.body)
			}
		})
	}
	all.Wait()
	if total := h.want(200, "GET", "/api/v1/webhooks", opsToken, "").json(t)["total"]; len(places) != 1 || total != 4.0 {
		t.Errorf("found %v made, %d told to wait, %v webhooks; want one made", places, underWay, total)
	}
}

func TestWhatIsKeptUnderAKeyDoesNotShowTheAnswer(t *testing.T) {
	var name string
	h := newHouse(t, func(o *Options) { o.Store = watchedStore{o.Store, func(key string) { name = key }} })
	token := h.want(201, "POST", "/api/v1/tokens", opsToken, `{"name":"ci","scopes":["read"]}`, "Idempotency-Key", "k").json(t)["token"].(string)
	b, err := h.store.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var kept remembered
	if err := json.Unmarshal(b, &kept); err != nil || len(kept.Sealed) == 0 {
		t.Fatalf("found %s, %v; want a sealed answer", b, err)
	}
	for _, secret := range []string{token, token[len(token)/2:]} {
		if strings.Contains(string(kept.Sealed), secret) || strings.Contains(string(b), secret) {
			t.Errorf("found the token in what is kept: %s", b)
		}
	}
}

// unsure is a real store that, while it is told to be, does what it is asked to write and answers that
// it cannot be reached; or, deaf, does nothing.
type unsure struct {
	store.Store
	puts, deaf, values atomic.Bool // of documents; and of values
}

func (s *unsure) PutDoc(ctx context.Context, kind, id string, body []byte, expected uint64) (uint64, error) {
	if s.deaf.Load() {
		return 0, store.ErrUnavailable
	}
	version, err := s.Store.PutDoc(ctx, kind, id, body, expected)
	if s.puts.Load() {
		return 0, store.ErrUnavailable
	}
	return version, err
}

func (s *unsure) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if s.values.Load() && strings.HasPrefix(key, "idempotency:") {
		return store.ErrUnavailable
	}
	return s.Store.Set(ctx, key, value, ttl)
}

func (s *unsure) Unset(ctx context.Context, key string) error {
	if s.values.Load() {
		return store.ErrUnavailable
	}
	return s.Store.Unset(ctx, key)
}

// newUnsureHouse is a house on such a store, with the bodies of creates by their paths.
func newUnsureHouse(t *testing.T) (*house, *unsure, map[string]string) {
	t.Helper()
	var s *unsure
	h := newHouse(t, func(o *Options) {
		s = &unsure{Store: o.Store}
		o.Store, o.Plane = s, planeOn(t, s)
	})
	return h, s, map[string]string{
		"/api/v1/webhooks": `{"url":"https://test.com","event":"before_call"}`,
		"/api/v1/incoming": `{"key":"phone"}`,
		"/api/v1/tokens":   `{"name":"ci","scopes":["read"]}`,
		"/api/v1/hooks":    `{"id":"erp","url":"https://erp.example","request_timeout":"800ms"}`,
		"/api/v1/numbers":  `{"number":"+380442223366","schema":"1"}`,
		"/api/v1/projects": `{"id":"new","default_schema":"1","schemas":[{"id":"1","steps":[{"hangup":"busy"}]}],"webhooks":[{"url":"https://test.com","event":"create"}],"incoming":[{"key":"phone"}]}`,
	}
}

func (h *house) total(path string) float64 {
	h.t.Helper()
	n, _ := h.want(200, "GET", path, opsToken, "").json(h.t)["total"].(float64)
	return n
}

// A store that does not answer may have done what it was asked: a second request with the same key made
// a second webhook, link or token.
func TestACreateOfWhichNobodyKnowsWhetherItWasDoneIsDoneOnce(t *testing.T) {
	for name, set := range map[string]func(*unsure, bool){
		"it was done":                         func(s *unsure, on bool) { s.puts.Store(on) },
		"it was not done":                     func(s *unsure, on bool) { s.deaf.Store(on) },
		"it was done, and its end not noted":  func(s *unsure, on bool) { s.puts.Store(on); s.values.Store(on) },
		"it was not, and its end not noted":   func(s *unsure, on bool) { s.deaf.Store(on); s.values.Store(on) },
		"it was done, and no answer was kept": func(s *unsure, on bool) { s.values.Store(on) },
	} {
		t.Run(name, func(t *testing.T) {
			h, s, bodies := newUnsureHouse(t)
			for path, body := range bodies {
				before := h.total(path)
				set(s, true)
				first := h.ask("POST", path, opsToken, body, "Idempotency-Key", "k")
				set(s, false)
				if first.status != 503 && first.status/100 != 2 {
					t.Fatalf("%s: found %d %s; want to be told that nobody knows", path, first.status, first.body)
				}
				second := h.ask("POST", path, opsToken, body, "Idempotency-Key", "k")
				if second.status == 409 { // it counts as under way
					h.clock.Add(int64(underWayFor))
					second = h.ask("POST", path, opsToken, body, "Idempotency-Key", "k")
				}
				third := h.ask("POST", path, opsToken, body, "Idempotency-Key", "k")
				if second.status/100 != 2 || third.body != second.body || third.header.Get("Idempotency-Replayed") != "true" {
					t.Errorf("%s: found %d %s, then %d %s; want it done", path, second.status, second.body, third.status, third.body)
				}
				if first.status/100 == 2 && (second.body != first.body || second.header.Get("Location") != first.header.Get("Location")) {
					t.Errorf("%s: found %s; want the first answer again, %s", path, second.body, first.body)
				}
				if now := h.total(path); now != before+1 {
					t.Errorf("%s: found %v in all; want one more than %v", path, now, before)
				}
				if token, _ := second.json(t)["token"].(string); path == "/api/v1/tokens" {
					h.want(200, "GET", "/api/v1/me", token, "")
				}
			}
		})
	}
}

func TestACreateThatIsDoneAgainTakesNobodyElsesForItsOwn(t *testing.T) {
	h, s, _ := newUnsureHouse(t)
	s.deaf.Store(true)
	h.want(503, "POST", "/api/v1/hooks", opsToken, `{"id":"erp","url":"https://erp.example"}`, "Idempotency-Key", "k")
	s.deaf.Store(false)
	h.want(201, "POST", "/api/v1/hooks", opsToken, `{"id":"erp","url":"https://another.example"}`)
	h.want(422, "POST", "/api/v1/hooks", opsToken, `{"id":"erp","url":"https://erp.example"}`, "Idempotency-Key", "k")
}
