package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const second = `{"id": "second", "default_schema": "1", "schemas": [{"id": "1", "steps": [{"dial": ["380440000001"]}]}]}`

func TestAFormIsAboutTheProjectThatItWasShownForWhateverAnotherTabTurnedTo(t *testing.T) {
	h := newHouse(t)
	if status, answer := h.api("POST", "/projects", second); status != http.StatusCreated {
		t.Fatalf("making a project: %d %s", status, answer)
	}
	v := h.signIn(opsToken)
	page := v.get("/try?project=own").body
	if !strings.Contains(page, `name="project" value="own"`) || !strings.Contains(page, `href="/deliveries?project=own"`) {
		t.Error("the page does not say in its form and its links which project it is about")
	}
	v.get("/p/second/schemas") // the other tab
	for path, form := range map[string]url.Values{
		"/try": {"p.callee": {"380442223344"}}, "/deliveries/replay": {}, "/deliveries/some/replay": {},
	} {
		if a := v.post(path, form); a.status != http.StatusNotFound || !strings.Contains(a.body, "no such project") {
			t.Errorf("POST %s without a project: found %d; want 404, and why", path, a.status)
		}
		// What this house has no router and no deliveries for is refused, for a project that is the form's.
		form.Set("project", "own")
		if a := v.post(path, form); a.status != http.StatusServiceUnavailable {
			t.Errorf("POST %s for a project: found %d; want 503", path, a.status)
		}
		form.Set("project", "gone")
		if a := v.post(path, form); a.status != http.StatusNotFound && a.status != http.StatusForbidden {
			t.Errorf("POST %s for a project that is not there: found %d; want 404", path, a.status)
		}
	}
}

func TestAProjectThatIsGoneIsNotTurnedToAgain(t *testing.T) {
	h := newHouse(t)
	if status, answer := h.api("POST", "/projects", second); status != http.StatusCreated {
		t.Fatalf("making a project: %d %s", status, answer)
	}
	for _, tc := range []struct{ name, path string }{
		{"by a page that chooses", "/try"},
		{"by its own page", "/p/second/schemas"},
	} {
		v := h.signIn(opsToken)
		h.api("POST", "/projects", second)
		v.get("/p/second/schemas")
		if status, _ := h.api("DELETE", "/projects/second", ""); status != http.StatusOK {
			t.Fatalf("deleting it: %d", status)
		}
		v.get(tc.path)
		a := v.get("/try")
		if a.status != http.StatusOK || strings.Contains(a.body, "second") {
			t.Errorf("%s: found %d, or the project that is gone; want the page of another", tc.name, a.status)
		}
	}
	if a := h.signIn(opsToken).get("/try?project=second"); a.status != http.StatusNotFound {
		t.Errorf("asked for by its name: found %d; want 404", a.status)
	}
}

func TestAProjectIsMadeWithWhatItRingsWhenAllElseFails(t *testing.T) {
	h := newHouse(t)
	v := h.signIn(opsToken)
	a := v.post("/projects", url.Values{"id": {"third"}, "name": {"Third"}, "fallback": {"380440000001\nnowhere at all"}})
	if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "nowhere at all") || !strings.Contains(a.body, `value="third"`) {
		t.Errorf("with a destination that is none: %d; want 422 and the form as it was\n%s", a.status, a.body)
	}
	if a = v.post("/projects", url.Values{"id": {"third"}, "fallback": {"380440000001\n380440000002"}}); a.status != http.StatusSeeOther {
		t.Fatalf("made: %d %s", a.status, a.body)
	}
	_, project := h.api("GET", "/projects/third", "")
	if !strings.Contains(project, `"default_schema":"default"`) || !strings.Contains(project, `"dial":["380440000001","380440000002"]`) {
		t.Errorf("the project is %s", project)
	}
}
