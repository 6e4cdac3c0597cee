package console

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestListsStaySmallWithTenThousandNumbers(t *testing.T) {
	h, _, _ := busyHouse(t)
	var numbers, hooks, webhooks []string
	for i := range 10_000 {
		numbers = append(numbers, fmt.Sprintf(`{"number": "38044%07d", "schema": "1", "pool": "pool-%d"}`, i, i%7))
	}
	for i := range 1_000 {
		hooks = append(hooks, fmt.Sprintf(`{"id": "hook-%04d", "url": "https://crm.example/%d"}`, i, i))
		webhooks = append(webhooks, fmt.Sprintf(`{"id": %d, "url": "https://crm.example/%d", "event": "create"}`, i+1, i))
	}
	project := `{"id": "large", "default_schema": "1", "schemas": [{"id": "1", "steps": [{"dial": ["380440000001"]}, {"hook": "hook-0001"}]}],
		"numbers": [` + strings.Join(numbers, ",") + `], "hooks": [` + strings.Join(hooks, ",") + `], "webhooks": [` + strings.Join(webhooks[:400], ",") + `]}`
	if status, answer := h.api("POST", "/projects", project); status != http.StatusCreated {
		t.Fatalf("making a large project: %d %.300s", status, answer)
	}
	v := h.signIn(opsToken)
	for path, want := range map[string]string{
		"/p/large/numbers": "1–50", "/p/large/numbers?page=200": "9951–10000", "/p/large/numbers?q=0009999": "380440009999", "/p/large/numbers/380440009999": "380440009999",
		"/p/large/hooks": "1–50", "/p/large/hooks/hook-0500": "hook-0500", "/p/large/schemas/1": "hook-0999", "/p/large/schemas": "1–1", "/p/large/webhooks": "1–50",
		"/p/large/incoming/new": "hook-0999", "/try?project=large": `list="all-hooks"`, "/deliveries?project=large": `list="all-webhooks"`,
		"/projects": "large", "/projects/large": "large", "/": "own / calm", "/live": "data-live", "/audit": "large", "/tokens": "hookswitch",
	} {
		began := time.Now()
		a := v.get(path)
		zipped := v.send("GET", path, nil, http.Header{"Accept-Encoding": {"gzip"}})
		t.Logf("%s: %d bytes, %d zipped, %s", path, len(a.body), len(zipped.body), time.Since(began))
		if found := strings.ReplaceAll(a.body, " to ", "–"); a.status != http.StatusOK || !strings.Contains(found, want) {
			t.Errorf("%s: found %d without %q", path, a.status, want)
		}
		if most := 100 << 10; len(a.body) > most {
			t.Errorf("%s: found %d bytes; want at most %d", path, len(a.body), most)
		}
		if most := 16 << 10; zipped.header.Get("Content-Encoding") != "gzip" || len(zipped.body) > most {
			t.Errorf("%s: found %d bytes, encoded as %q; want gzip, and at most %d", path, len(zipped.body), zipped.header.Get("Content-Encoding"), most)
		}
	}
}
