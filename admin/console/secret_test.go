package console

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var madeToken = regexp.MustCompile(`hsw_[A-Za-z0-9_-]+`)

func TestASecretIsShownOnceAndLoadingItsPageAgainMakesNoOther(t *testing.T) {
	h := newHouse(t)
	v := h.signIn(opsToken)
	for _, tc := range []struct {
		name, path string
		form       url.Values
		want       *regexp.Regexp
	}{
		{"a token", "/tokens", url.Values{"name": {"guest"}, "scopes": {"read"}}, madeToken},
		{"a link", "/p/own/incoming/new", url.Values{"id": {"link"}, "key": {"phone"}}, regexp.MustCompile(`/in/[A-Za-z0-9_-]{20,}`)},
		{"a link's second token", "/p/own/incoming/link/rotate", url.Values{}, regexp.MustCompile(`/in/[A-Za-z0-9_-]{20,}`)},
	} {
		a := v.post(tc.path, tc.form)
		place := a.header.Get("Location")
		if a.status != http.StatusSeeOther || !strings.HasPrefix(place, "/shown/") || tc.want.MatchString(a.body) {
			t.Errorf("%s: found %d to %q; want to be led to where it is shown", tc.name, a.status, place)
			continue
		}
		before := h.whole()
		if a := h.signIn(opsToken).get(place); a.status != http.StatusGone {
			t.Errorf("%s: another session found %d; want 410", tc.name, a.status)
		}
		if a := v.get(place); a.status != http.StatusOK || !tc.want.MatchString(a.body) {
			t.Errorf("%s: found %d without it", tc.name, a.status)
		}
		if a := v.get(place); a.status != http.StatusGone || tc.want.MatchString(a.body) || !strings.Contains(a.body, "shown once already") {
			t.Errorf("%s: again: found %d; want 410, and why", tc.name, a.status)
		}
		if h.whole() != before {
			t.Errorf("%s: looking at it has changed something", tc.name)
		}
	}
}

func TestEveryTokenCanBeRevokedHoweverManyThereAre(t *testing.T) {
	h := newHouse(t)
	for range listPage + 1 {
		h.api("POST", "/tokens", `{"name": "one of many", "scopes": ["read"]}`)
	}
	v := h.signIn(opsToken)
	revoke := regexp.MustCompile(`/tokens/[0-9a-f]+/revoke`)
	first := v.get("/tokens").body
	if !strings.Contains(first, `href="/tokens?page=2"`) {
		t.Fatal("the first page does not lead to the second")
	}
	if n := len(revoke.FindAllString(first, -1)) + len(revoke.FindAllString(v.get("/tokens?page=2").body, -1)); n != listPage+1 {
		t.Errorf("found %d to revoke; want %d", n, listPage+1)
	}
}

func TestAConflictSaysWhatItsReasonIs(t *testing.T) {
	h := newHouse(t)
	v := h.signIn(opsToken)
	v.post("/p/own/incoming/new", url.Values{"id": {"link"}, "key": {"phone"}})
	for path, want := range map[string]string{"/p/own/incoming/link/finish": "there is no second token", "/p/filed/schemas/1/delete": "hookswitch.yaml"} {
		if a := v.post(path, url.Values{}); a.status != http.StatusConflict || !strings.Contains(a.body, want) || !strings.Contains(a.body, "as things stand") {
			t.Errorf("%s: found %d without %q", path, a.status, want)
		}
	}
}
