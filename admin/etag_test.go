package admin

import (
	"fmt"
	"sync"
	"testing"
)

func TestOfWritersWithTheSameTagOneAloneIsServed(t *testing.T) {
	h := newHouse(t)
	for path, body := range map[string]string{
		"/api/v1/hooks/crm":            `{"url":"https://crm.example/%d"}`,
		"/api/v1/numbers/380442223344": `{"schema":"100","pool":"p%d"}`,
		"/api/v1/webhooks/5":           `{"url":"https://test.com/%d","event":"create"}`,
		"/api/v1/projects/10553":       `{"name":"n%d","default_schema":"1"}`,
	} {
		tag := h.want(200, "GET", path, opsToken, "").header.Get("ETag")
		if served, stale := h.race("PUT", path, body, "If-Match", tag); served != 1 || stale != racers-1 {
			t.Errorf("%s: found %d served and %d refused as stale; want 1 and %d", path, served, stale, racers-1)
		}
		h.want(412, "DELETE", path, opsToken, "", "If-Match", tag)
	}
}

const racers = 8

// race has the request made by several at once, and counts those who were served (200) and those who
// came too late (412).
func (h *house) race(method, path, body string, headers ...string) (served, stale int) {
	h.t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range racers {
		all.Go(func() {
			a, err := h.try(method, path, opsToken, fmt.Sprintf(body, i), headers...)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				h.t.Error(err)
			case a.status == 200:
				served++
			case a.status == 412:
				stale++
			default:
				h.t.Errorf("%s: found %d %s", path, a.status, a.body)
			}
		})
	}
	all.Wait()
	return served, stale
}

func TestWritersWithoutATagDoNotUndoEachOther(t *testing.T) {
	h := newHouse(t)
	var all sync.WaitGroup
	for i := range racers {
		all.Go(func() {
			a, err := h.try("POST", "/api/v1/numbers", opsToken, fmt.Sprintf(`{"number":"38044000001%d","schema":"1"}`, i))
			for err == nil && a.status == 409 {
				a, err = h.try("POST", "/api/v1/numbers", opsToken, fmt.Sprintf(`{"number":"38044000001%d","schema":"1"}`, i))
			}
			if err != nil || a.status != 201 {
				t.Errorf("found %d %s, %v; want 201", a.status, a.body, err)
			}
		})
	}
	all.Wait()
	if total := h.want(200, "GET", "/api/v1/numbers", opsToken, "").json(t)["total"]; total != 1.0+racers {
		t.Errorf("found %v numbers; want %d", total, 1+racers)
	}
}

func TestAnAnswerThatTheClientHasIsNotSentAgain(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"/api/v1/hooks/crm", "/api/v1/hooks", "/api/v1/webhooks/5", "/api/v1/webhooks?type=et", "/api/v1/projects/10553", "/api/v1/me"} {
		tag := h.want(200, "GET", path, opsToken, "").header.Get("ETag")
		if len(tag) < 3 || tag[0] != '"' {
			t.Fatalf("%s: found ETag %q; want a strong one", path, tag)
		}
		if a := h.want(304, "GET", path, opsToken, "", "If-None-Match", `"x", `+tag); a.body != "" || a.header.Get("ETag") != tag {
			t.Errorf("%s: found %q, ETag %q; want no body and %q", path, a.body, a.header.Get("ETag"), tag)
		}
		h.want(200, "GET", path, opsToken, "", "If-None-Match", `W/`+tag)
	}
	tag := h.want(200, "GET", "/api/v1/hooks/crm", opsToken, "").header.Get("ETag")
	changed := h.want(200, "PUT", "/api/v1/hooks/crm", opsToken, `{"url":"https://crm.example/2"}`, "If-Match", tag).header.Get("ETag")
	if got := h.want(200, "GET", "/api/v1/hooks/crm", opsToken, "", "If-None-Match", tag).header.Get("ETag"); got != changed {
		t.Errorf("found ETag %q; want that of the change, %q", got, changed)
	}
}
