package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

// deliveryLog is a Deliveries in memory, which notes what is done.
type deliveryLog struct {
	list     []schema.Delivery
	disabled []schema.DisabledWebhook
	done     []string
}

func (l *deliveryLog) List(_ context.Context, f schema.DeliveryFilter, before string, limit int) (list []schema.Delivery, next string, err error) {
	l.done = append(l.done, fmt.Sprintf("list %s/%d %s %s %s %d before %q", f.Project, f.Webhook, f.State, f.Event, f.CallID, f.Since.Unix(), before))
	for _, d := range l.list {
		if d.Project != f.Project || before != "" && d.ID >= before {
			continue
		}
		if len(list) == limit {
			return list, list[limit-1].ID, nil
		}
		list = append(list, d)
	}
	return list, "", nil
}

func (l *deliveryLog) Get(_ context.Context, id string) (schema.Delivery, error) {
	for _, d := range l.list {
		if d.ID == id {
			return d, nil
		}
	}
	return schema.Delivery{}, store.ErrNotFound
}

func (l *deliveryLog) Replay(_ context.Context, id string) error {
	l.done = append(l.done, "replay "+id)
	if id == "d2" {
		return errors.New("the delivery waits for its next attempt")
	}
	return nil
}

func (l *deliveryLog) ReplayFailed(_ context.Context, f schema.DeliveryFilter, before string) (int, string, error) {
	l.done = append(l.done, fmt.Sprintf("replay all %s/%d %s %d before %q", f.Project, f.Webhook, f.State, f.Tried.Unix(), before))
	switch before {
	case "":
		return 2, "d2", nil
	case "d2":
		return 1, "", nil
	case "late":
		return 3, "late", store.ErrUnavailable
	}
	return 0, before, store.ErrUnavailable
}

func (l *deliveryLog) AllDisabled(project string) []schema.DisabledWebhook {
	var list []schema.DisabledWebhook
	for _, d := range l.disabled {
		if project == "" || d.Project == project {
			list = append(list, d)
		}
	}
	return list
}

func (l *deliveryLog) Disabled(project string, webhook int64) (time.Time, string, bool) {
	for _, d := range l.disabled {
		if d.Project == project && d.Webhook == webhook {
			return d.Since, d.Reason, true
		}
	}
	return time.Time{}, "", false
}

func (l *deliveryLog) Enable(_ context.Context, project string, webhook int64) error {
	l.done = append(l.done, fmt.Sprintf("enable %s/%d", project, webhook))
	return nil
}

func TestDeliveriesAreListedAndReplayedWithinTheProject(t *testing.T) {
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	log := &deliveryLog{list: []schema.Delivery{
		{ID: "d3", Project: "10553", Webhook: 5, Event: "destroy", State: schema.DeliveryFailed, Created: at, Attempts: []schema.DeliveryAttempt{}},
		{ID: "d2", Project: "10553", Webhook: 5, Event: "create", State: schema.DeliveryWaiting, Created: at},
		{ID: "d1", Project: "filed", Webhook: 1, Event: "create", State: schema.DeliveryDelivered, Created: at},
	}}
	h := newHouse(t, func(o *Options) { o.Deliveries = log })
	page := h.want(200, "GET", "/api/v1/deliveries?per_page=1&state=failed&webhook=5&event=after_call&callid=7&since=2026-11-22T08:00:00Z", ownToken, "").json(t)
	next, _ := page["next_page_url"].(string)
	if data := page["data"].([]any); len(data) != 1 || data[0].(map[string]any)["id"] != "d3" || !strings.Contains(next, "before=d3") {
		t.Fatalf("found %v; want d3, and where to go on", page)
	}
	page = h.want(200, "GET", strings.TrimPrefix(next, h.url), ownToken, "").json(t)
	if data := page["data"].([]any); len(data) != 1 || data[0].(map[string]any)["id"] != "d2" || page["next_page_url"] != nil {
		t.Errorf("found %v; want d2, and no more", page)
	}
	h.want(200, "GET", "/api/v1/deliveries/d3", ownToken, "")
	h.want(404, "GET", "/api/v1/deliveries/d1", ownToken, "") // another project's
	h.want(404, "POST", "/api/v1/deliveries/d1/replay", ownToken, "")
	h.want(404, "POST", "/api/v1/deliveries/none/replay", ownToken, "")
	h.want(200, "POST", "/api/v1/deliveries/d3/replay", ownToken, "")
	h.want(409, "POST", "/api/v1/deliveries/d2/replay", ownToken, "")
	for _, tc := range [][2]string{
		{`{"webhook":5,"since":"2026-11-22T08:00:00Z"}`, `{"success":true,"replayed":2,"more":true,"before":"d2"}`},
		{`{"webhook":5,"since":"2026-11-22T08:00:00Z","before":"d2"}`, `{"success":true,"replayed":1,"more":false}`},
		// What was done is told even where the rest could not be.
		{`{"webhook":5,"since":"2026-11-22T08:00:00Z","before":"late"}`, `{"success":true,"replayed":3,"more":true,"before":"late"}`},
	} {
		sameJSON(t, "replay", h.want(200, "POST", "/api/v1/deliveries/replay", ownToken, tc[0]).body, tc[1])
	}
	h.want(503, "POST", "/api/v1/deliveries/replay", ownToken, `{"webhook":5,"since":"2026-11-22T08:00:00Z","before":"d3"}`)
	h.want(200, "POST", "/api/v1/webhooks/5/enable", ownToken, "")
	h.want(404, "POST", "/api/v1/webhooks/7/enable", ownToken, "")
	for query, field := range map[string]string{"state=lost": "state", "webhook=x": "webhook", "event=ring": "event", "since=yesterday": "since", "per_page=0": "per_page"} {
		if a := h.ask("GET", "/api/v1/deliveries?"+query, ownToken, ""); a.status != 422 || a.fields(t)[field] == nil {
			t.Errorf("%s: found %d %s; want 422 for %s", query, a.status, a.body, field)
		}
	}
	want := []string{
		`list 10553/5 failed destroy 7 1795334400 before ""`, `list 10553/5 failed destroy 7 1795334400 before "d3"`,
		"replay d3", "replay d2", `replay all 10553/5 failed 1795334400 before ""`, `replay all 10553/5 failed 1795334400 before "d2"`,
		`replay all 10553/5 failed 1795334400 before "late"`, `replay all 10553/5 failed 1795334400 before "d3"`, "enable 10553/5",
	}
	if got := strings.Join(log.done, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("found\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestAWebhookThatIsDisabledByHandIsEnabled(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.Deliveries = &deliveryLog{} })
	h.want(200, "PUT", "/api/v1/webhooks/5", opsToken, `{"url":"https://test.com","event":"create","disabled":true}`)
	wantFields(t, "disabled", h.want(200, "GET", "/api/v1/webhooks/5", opsToken, ""), `{"disabled":true}`)
	h.want(200, "POST", "/api/v1/webhooks/5/enable", opsToken, "")
	wantFields(t, "enabled", h.want(200, "GET", "/api/v1/webhooks/5", opsToken, ""), `{"disabled":false}`)
}

func TestNumbersInADeliveryAreHiddenWhereTheyAreHiddenElsewhere(t *testing.T) {
	attempts := []schema.DeliveryAttempt{{Error: "380501112233 is unknown", Request: `{"caller":"380501112233"}`, Answer: "no 380501112233"}}
	log := &deliveryLog{list: []schema.Delivery{{ID: "d1", Project: "10553", State: schema.DeliveryFailed, Attempts: attempts}}}
	h := newHouse(t, func(o *Options) { o.Deliveries, o.Plane = log, maskingPlane{o.Plane} })
	for _, path := range []string{"/api/v1/deliveries", "/api/v1/deliveries/d1"} {
		if a := h.want(200, "GET", path, ownToken, ""); strings.Contains(a.body, "380501112233") || strings.Count(a.body, "380*******33") != 3 {
			t.Errorf("%s: found %s; want the numbers hidden", path, a.body)
		}
	}
	if attempts[0].Request != `{"caller":"380501112233"}` {
		t.Error("what is kept has changed")
	}
}

// maskingPlane is a plane of a configuration that hides numbers.
type maskingPlane struct{ Plane }

func (p maskingPlane) Current() *schema.Config {
	c := *p.Plane.Current()
	c.Log.MaskNumbers = true
	return &c
}

func TestAWebhookThatIsDisabledForItsFailuresSaysSoAndCanBeSentBack(t *testing.T) {
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	log := &deliveryLog{disabled: []schema.DisabledWebhook{{Project: "10553", Webhook: 5, Since: at, Reason: "it answered 410 Gone"}}}
	h := newHouse(t, func(o *Options) { o.Deliveries = log })
	const told = `{"disabled_for_failing": {"since": "2026-11-22T08:00:00Z", "reason": "it answered 410 Gone"}}`
	one := h.want(200, "GET", "/api/v1/webhooks/5", opsToken, "")
	wantFields(t, "the webhook", one, told)
	list := h.want(200, "GET", "/api/v1/webhooks", opsToken, "")
	if strings.Count(list.body, "410 Gone") != 1 {
		t.Errorf("found %s; want the one that is disabled to say so", list.body)
	}
	h.want(200, "PUT", "/api/v1/webhooks/5", opsToken, one.body)
	if a := h.want(200, "GET", "/api/v1/webhooks/6", opsToken, ""); strings.Contains(a.body, "disabled_for_failing") {
		t.Errorf("found %s; want nothing of it", a.body)
	}
}
