package admin

import "testing"

func TestAProjectsSettingsAreHadAndSentBackWithoutItsLists(t *testing.T) {
	h := newHouse(t)
	whole := h.want(200, "GET", "/api/v1/projects/10553", opsToken, "").json(t)
	a := h.want(200, "GET", "/api/v1/projects/10553?lists=none", opsToken, "")
	settings := a.json(t)
	for _, list := range []string{"intakes", "numbers", "schemas", "hooks", "webhooks", "incoming"} {
		if _, there := settings[list]; there {
			t.Errorf("found %s among the settings", list)
		}
		delete(whole, list)
	}
	sameJSON(t, "the settings", encode(t, settings), encode(t, whole))
	before := h.want(200, "GET", "/api/v1/projects", opsToken, "").json(t)["data"]
	h.want(200, "PUT", "/api/v1/projects/10553", opsToken, a.body, "If-Match", a.header.Get("ETag"))
	after := h.want(200, "GET", "/api/v1/projects", opsToken, "").json(t)["data"]
	for i, p := range after.([]any) {
		was := before.([]any)[i].(map[string]any)
		if now := p.(map[string]any); now["numbers"] != was["numbers"] || now["hooks"] != was["hooks"] || now["incoming"] != was["incoming"] {
			t.Errorf("found %v; want %v, as before", now, was)
		}
	}
}
