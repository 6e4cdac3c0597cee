package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// withHook is a managed project whose number asks a hook first, and falls back on a destination.
func withHook(hook map[string]any) map[string]any {
	hook["id"], hook["url"] = "crm", "http://127.0.0.1:9/"
	p := edition(1)
	p["hooks"] = []any{hook}
	return p
}

// wantField wants a 422 for that field, and the project's number, and the file's, to be routed as before.
func (s *service) wantField(field string, status int, answer string, err error) {
	s.t.Helper()
	var said struct {
		Errors map[string][]string `json:"errors"`
	}
	if json.Unmarshal([]byte(answer), &said) != nil || err != nil || status != http.StatusUnprocessableEntity || len(said.Errors[field]) == 0 {
		s.t.Errorf("got %d %s, %v; want 422 for %s", status, answer, err, field)
	}
	for number, want := range map[string]string{managedNumber: destinationOf(1), "380442223300": "380449999999"} {
		if d, _ := s.route(call(number)); d.DstPhone != want {
			s.t.Errorf("%s: %s is routed to %s (%s); want %s", field, number, d.DstPhone, d.Reason, want)
		}
	}
}

// A hook that passes the schema's check and can't be made ready was kept, and took its project out of
// use on every instance; the API then knew no such project.
func TestAHookThatCantBeMadeReadyIsRefusedAndTheProjectStays(t *testing.T) {
	all := instances(t, startRedis(t), 2)
	s := all[0]
	s.mustManage("POST", "/projects", edition(1))
	param := []any{map[string]any{"name": "at", "param": "date", "date_format": "d.m.Y G:i"}}
	for field, hook := range map[string]map[string]any{
		"body":                  {"method": "POST", "send": "json", "body": `{"a":`},
		"date_format":           {"date_format": "d.m.Y G:i"},
		"params[0].date_format": {"params": param},
	} {
		status, answer, err := s.manage(s.adminURL(), "PUT", "/projects/managed", withHook(hook))
		s.wantField("hooks[0]."+field, status, answer, err)
	}
	for _, body := range []string{"<a>", "<a b={{caller}}>", "<a></b>"} {
		status, answer, err := s.manage(s.adminURL(), "POST", "/hooks?project=managed", map[string]any{
			"id": "crm", "url": "http://127.0.0.1:9/", "method": "POST", "send": "xml", "body": body,
		})
		s.wantField("body", status, answer, err)
	}
	s.wantStillManaged(all)
}

// wantStillManaged wants a change of the project, and a reload of the file, to hold on all instances.
func (s *service) wantStillManaged(all []*service) {
	s.t.Helper()
	s.mustManage("PUT", "/projects/managed", edition(2))
	for i, other := range all {
		waitFor(s.t, 10*time.Second, fmt.Sprint("a sound change on instance ", i), func() bool {
			d, _ := other.route(call(managedNumber))
			return d.DstPhone == destinationOf(2)
		})
	}
	if refused := s.metric("hookswitch_control_refused"); refused != 0 {
		s.t.Errorf("got %v projects left out; want none", refused)
	}
}

// A webhook whose template is no JSON was kept, and no configuration could be applied from then on: no
// other project's change, on no instance, and no reload of the file.
func TestAWebhookThatCantBeMadeReadyIsRefusedAndHoldsUpNobody(t *testing.T) {
	all := instances(t, startRedis(t), 2)
	s := all[0]
	s.mustManage("POST", "/projects", edition(1))
	for field, webhook := range map[string]map[string]any{
		"template":    {"template": "{"},
		"date_format": {"date_format": "d.m.Y G:i"},
	} {
		webhook["url"], webhook["event"] = "http://127.0.0.1:9/", "create"
		status, answer, err := s.manage(s.adminURL(), "POST", "/webhooks?project=managed", webhook)
		s.wantField(field, status, answer, err)
	}
	s.wantStillManaged(all)
	s.signal(syscall.SIGHUP)
	waitFor(t, 10*time.Second, "the file is reloaded", func() bool { return s.metric(`hookswitch_config_reloads_total{result="ok"}`) == 1 })
}
