package admin

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
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
