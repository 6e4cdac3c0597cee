package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// consoleWrite is something that a form of the console does.
type consoleWrite struct {
	route string   // of admin/console's routes
	path  string   // what the form is sent to, of that route
	page  string   // where the form is
	fill  []string // selectors of fields and what is put there; "click" clicks
}

// form selects the form, and button what sends it.
func (w consoleWrite) form() string   { return "main form[method=post][action='" + w.path + "']" }
func (w consoleWrite) button() string { return w.form() + " button:not([type=button])" }

// consoleWrites is everything that the console can change, in an order in which all of it can be done.
// customer is the URL of the customer's webhooks.
func consoleWrites(v sights, customer string) []consoleWrite {
	all := []consoleWrite{
		{"/try", "/try", "/try?callee=380442223344&caller=380501112233&project=1001", nil},
		{"/deliveries/{id}/replay", "/deliveries/" + v.failed + "/replay", "/deliveries/" + v.failed + "?project=1001", nil},
		{"/deliveries/replay", "/deliveries/replay", "/deliveries?project=1001", nil},
		{"/tokens", "/tokens", "/tokens", []string{"#f-name", "another", "[name=scopes][value=read]", "click"}},
		{"/tokens/{id}/revoke", "/tokens/" + v.token + "/revoke", "/tokens", nil},
		{"/p/{project}/{kind}/{id}/enable", "/p/1001/webhooks/9/enable", "/p/1001/webhooks/9", nil},
		{"/projects", "/projects", "/projects", []string{"#f-id", "another", "#f-name", "Another"}},
		{"/projects/{id}", "/projects/1001", "/projects/1001", []string{"#f-name", "Changed"}},
	}
	things := []struct{ kind, id, old string }{{"schemas", "1", "3"}, {"hooks", "crm", "old-crm"}, {"numbers", "380442223344", "380442223377"}, {"incoming", "crm", "site"}, {"webhooks", "7", "8"}}
	fresh := map[string][]string{
		"schemas":  {"#f-id", "made", "[name='steps.0.kind']", "dial", "[name='steps.0.dial']", "380440000077"},
		"hooks":    {"#f-id", "made", "#f-url", customer + "/route"},
		"numbers":  {"#f-number", "380449999999", "#f-schema", "1"},
		"incoming": {"#f-id", "made", "#f-key", "phone"},
		"webhooks": {"#f-url", customer + "/told"},
	}
	for _, t := range things {
		base := "/p/1001/" + t.kind + "/"
		changed := []string{"#f-name", "Changed"}
		if t.kind == "numbers" {
			changed = []string{"#f-pool", "changed"}
		}
		all = append(all,
			consoleWrite{"/p/{project}/{kind}/new", base + "new", base + "new", fresh[t.kind]},
			consoleWrite{"/p/{project}/{kind}/{id}", base + t.id, base + t.id, changed},
			consoleWrite{"/p/{project}/{kind}/{id}/delete", base + t.old + "/delete", base + t.old, nil})
	}
	return append(all,
		consoleWrite{"/p/{project}/{kind}/{id}/rotate", "/p/1001/incoming/crm/rotate", "/p/1001/incoming/crm", nil},
		consoleWrite{"/p/{project}/{kind}/{id}/finish", "/p/1001/incoming/crm/finish", "/p/1001/incoming/crm", nil},
		consoleWrite{"/projects/{id}/delete", "/projects/another/delete", "/projects/another", nil})
}

// noWrites are the POSTs that change nothing but the visitor's own session and browser.
var noWrites = map[string]bool{"/signin": true, "/signout": true, "/preferences": true}

// postedRoutes reads the console's own list of its routes, so that a new one cannot be forgotten here.
func postedRoutes(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../admin/console/console.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var posts []string
	ast.Inspect(file, func(n ast.Node) bool {
		row, ok := n.(*ast.CompositeLit)
		if !ok || len(row.Elts) < 2 {
			return true
		}
		method, isText := row.Elts[0].(*ast.BasicLit)
		path, alsoText := row.Elts[1].(*ast.BasicLit)
		if isText && alsoText && method.Value == `"POST"` {
			text, err := strconv.Unquote(path.Value)
			if err != nil {
				t.Fatal(err)
			}
			posts = append(posts, text)
		}
		return true
	})
	if len(posts) < 10 {
		t.Fatalf("found only the routes %q in console.go", posts)
	}
	return posts
}

// TestNoWriteOfTheConsoleIsForgotten: the tests of who may do what try each route that does something.
func TestNoWriteOfTheConsoleIsForgotten(t *testing.T) {
	tried := map[string]bool{}
	for _, w := range consoleWrites(sights{failed: "1", token: "2"}, "") {
		tried[w.route] = true
		if !regexp.MustCompile("^" + regexp.MustCompile(`\{\w+\}`).ReplaceAllString(w.route, "[^/]+") + "$").MatchString(w.path) {
			t.Errorf("%s is not of the route %s", w.path, w.route)
		}
	}
	for _, route := range postedRoutes(t) {
		if !tried[route] && !noWrites[route] {
			t.Errorf("POST %s is none of the writes that are tried; add it to consoleWrites", route)
		}
		delete(tried, route)
	}
	for route := range tried {
		t.Errorf("POST %s is tried, and the console does not have it", route)
	}
}

// state is all that a write could change, so that two of them can be compared. Guests' tokens and when
// tokens were used last are left out.
func (s *service) state(c *customer) string {
	s.t.Helper()
	var all bytes.Buffer
	for _, path := range []string{"/projects?per_page=100", "/projects/1001", "/projects/filed", "/webhooks?per_page=100", "/audit", "/deliveries"} {
		all.Write(s.api("GET", path, opsToken, "1001", nil))
		all.WriteByte('\n')
	}
	var tokens struct {
		Data []map[string]any `json:"data"`
	}
	if err := json.Unmarshal(s.api("GET", "/tokens?per_page=100", opsToken, "", nil), &tokens); err != nil {
		s.t.Fatal(err)
	}
	for _, one := range tokens.Data {
		if one["name"] != "guest" {
			fmt.Fprintln(&all, one["id"], one["name"], one["scopes"], one["expires"])
		}
	}
	fmt.Fprintln(&all, "asked", c.asked.Load(), "told", c.heard.Load())
	return all.String()
}

// session signs in without a browser and returns the session's cookie and what its forms send back.
func (s *service) session(token string) (cookie, form string) {
	s.t.Helper()
	once := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 30 * time.Second}
	defer once.CloseIdleConnections()
	resp, err := once.PostForm(s.adminURL()+"/signin", url.Values{"token": {token}})
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	for _, c := range resp.Cookies() {
		if c.Name == sessionCookie {
			cookie = c.Value
		}
	}
	if cookie == "" {
		s.t.Fatalf("signing in was answered with %d and no session", resp.StatusCode)
	}
	req, err := http.NewRequest("GET", s.adminURL()+"/projects", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: sessionCookie, Value: cookie})
	if resp, err = once.Do(req); err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	found := regexp.MustCompile(`name="form" value="([^"]+)"`).FindSubmatch(page)
	if found == nil {
		s.t.Fatalf("no form of the session in the page, which came with %d", resp.StatusCode)
	}
	return cookie, string(found[1])
}

// signOut ends a session.
func (s *service) signOut(cookie, form string) {
	s.t.Helper()
	if status, body := s.curl(cookie, "/signout", url.Values{"form": {form}}); status != http.StatusSeeOther {
		s.t.Fatalf("signing out: found %d; want 303: %s", status, body)
	}
}

// curl sends a form to the console by the command of that name. Each comes from an address of its own: one
// that shows a token which is over again and again has to wait.
func (s *service) curl(cookie, path string, form url.Values) (status int, body string) {
	s.t.Helper()
	from := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), 1+rand.IntN(250), 1+rand.IntN(250))
	args := []string{"-sS", "--interface", from, "--max-time", "30", "-w", "\n%{http_code}", "--data-raw", form.Encode()}
	if cookie != "" {
		args = append(args, "-b", sessionCookie+"="+cookie)
	}
	out, err := exec.Command("curl", append(args, s.adminURL()+path)...).Output()
	if err != nil {
		s.t.Fatalf("curl %s: %v", path, err)
	}
	end := bytes.LastIndexByte(out, '\n')
	if status, err = strconv.Atoi(string(out[end+1:])); err != nil {
		s.t.Fatalf("curl %s: %v", path, err)
	}
	return status, string(out[:end])
}

// prepare opens the form of a write and fills it in.
func (b *browser) prepare(w consoleWrite) {
	b.t.Helper()
	b.open(w.page)
	b.unfold()
	for i := 0; i < len(w.fill); i += 2 {
		if w.fill[i+1] == "click" {
			b.click(w.form() + " " + w.fill[i])
		} else {
			b.fill(w.form()+" "+w.fill[i], w.fill[i+1])
		}
	}
}

// posted is what the form in the page would send.
func (b *browser) posted(w consoleWrite) url.Values {
	b.t.Helper()
	text := eval[string](b, `(() => {
		const form = document.querySelector(`+inScript(w.form())+`);
		return form ? new URLSearchParams(new FormData(form)).toString() : "";
	})()`)
	form, err := url.ParseQuery(text)
	if err != nil || form.Get("form") == "" {
		b.t.Fatalf("the form of %s at %s: found %q; want what it sends, with the session's mark", w.path, b.location(), text)
	}
	return form
}

// refused is what a page says that has done nothing.
const refused = "nothing was done"

func TestEachWriteIsRefusedToASessionThatMayNot(t *testing.T) {
	s, c := startConsole(t)
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	b.open("/live")
	b.sees("[data-state]", "live")
	v := furnish(t, s, c)
	s.api("POST", "/projects", opsToken, "", map[string]any{"id": "another", "name": "Another", "default_schema": "1", "schemas": []any{map[string]any{"id": "1", "steps": []any{map[string]any{"hangup": "busy"}}}}})
	writes := consoleWrites(v, c.URL)
	guests := s.guests(len(writes))
	before := s.state(c)

	// A page is open and its form filled in; then the session ends, and the button is pressed.
	forms := make([]url.Values, len(writes))
	revoked := 0
	for i, w := range writes {
		for _, end := range []string{"signed out", "with a token that was revoked"} {
			if !full && (end == "signed out") != (i%2 == 0) {
				continue // in the short form each write is tried in one of the two ways
			}
			b.become(guests[i].cookie)
			if end == "signed out" {
				b.become(guests[i].other)
			}
			b.prepare(w)
			forms[i] = b.posted(w)
			if end == "signed out" {
				s.signOut(guests[i].other, guests[i].otherForm)
			} else {
				s.api("DELETE", "/tokens/"+guests[i].id, opsToken, "", nil)
				if revoked++; revoked > 15 {
					time.Sleep(3 * time.Second) // as often as an address may show a token that is over
				}
			}
			b.press(w.button())
			if !b.shows(refused) || b.text(".side") != "" {
				t.Errorf("%s %s, in the browser: the page does not say that nothing was done, or has a menu:\n%s", w.path, end, b.text("body"))
			}
		}
	}
	s.wantState(c, before, "signed out in the browser")

	// A reader's pages have no such forms; one is made up, with the mark of the reader's own session.
	cookie, mark := s.session(eyeToken)
	b.become(cookie)
	b.open("/projects")
	for i, w := range writes {
		forms[i].Set("form", mark)
		b.submit(w.path, forms[i])
		if !b.shows(refused) || b.text(".side") == "" {
			t.Errorf("%s by a reader, in the browser: the page does not say that nothing was done, or has no menu:\n%s", w.path, b.text("body"))
		}
	}
	s.wantState(c, before, "by a reader in the browser")
	s.refusedByCurl(c, writes, forms, before)
}

// guest is a token and two sessions: one of that token, one of the operator's that can be ended alone.
type guest struct{ id, cookie, form, other, otherForm string }

func (s *service) guests(n int) []guest {
	s.t.Helper()
	all := make([]guest, n)
	for i := range all {
		id, text := s.newToken(s.t, map[string]any{"name": "guest", "scopes": []string{"read", "write", "admin"}})
		all[i].id = id
		all[i].cookie, all[i].form = s.session(text)
		all[i].other, all[i].otherForm = s.session(opsToken)
	}
	return all
}

func (s *service) wantState(c *customer, before, who string) {
	s.t.Helper()
	if after := s.state(c); after != before {
		s.t.Errorf("%s: something has changed:\n%s\nwas\n%s", who, after, before)
	}
}

// submit sends a form that is made up in the page.
func (b *browser) submit(path string, form url.Values) {
	b.t.Helper()
	b.leave("a form to "+path, func() {
		eval[any](b, `(() => {
			const form = document.createElement("form");
			form.method = "post";
			form.action = `+inScript(path)+`;
			for (const [name, value] of new URLSearchParams(`+inScript(form.Encode())+`)) {
				const field = document.createElement("input");
				field.type = "hidden";
				field.name = name;
				field.value = value;
				form.append(field);
			}
			document.body.append(form);
			setTimeout(() => HTMLFormElement.prototype.submit.call(form));
		})()`)
	})
}

// refusedByCurl sends each form by curl, from sessions that may not.
func (s *service) refusedByCurl(c *customer, writes []consoleWrite, forms []url.Values, before string) {
	s.t.Helper()
	expires, expired := s.expiring(len(writes))
	left, leftMark := s.session(opsToken)
	s.signOut(left, leftMark)
	eye, eyeMark := s.session(eyeToken)
	ops, _ := s.session(opsToken)
	try := func(who string, want int, session func(i int) (cookie, mark string)) {
		s.t.Helper()
		for i, w := range writes {
			cookie, mark := session(i)
			forms[i].Set("form", mark)
			if status, body := s.curl(cookie, w.path, forms[i]); status != want || !strings.Contains(body, refused) {
				s.t.Errorf("%s %s, by curl: found %d, and %q is there: %t; want %d", w.path, who, status, refused, strings.Contains(body, refused), want)
			}
		}
		s.wantState(c, before, who+", by curl")
	}
	try("without a session", http.StatusUnauthorized, func(int) (string, string) { return "", "guessed" })
	try("signed out", http.StatusUnauthorized, func(int) (string, string) { return left, leftMark })
	try("by a reader", http.StatusForbidden, func(int) (string, string) { return eye, eyeMark })
	try("with another session's mark", http.StatusForbidden, func(int) (string, string) { return ops, eyeMark })
	time.Sleep(time.Until(expires))
	try("expired", http.StatusUnauthorized, func(i int) (string, string) { return expired[i].cookie, expired[i].form })
}

// expiring opens sessions of a token that expires soon, and returns when it does.
func (s *service) expiring(n int) (time.Time, []guest) {
	s.t.Helper()
	for within := 3 * time.Second; ; within *= 2 {
		expires := time.Now().Add(within).UTC()
		_, text := s.newToken(s.t, map[string]any{"name": "guest", "scopes": []string{"read", "write", "admin"}, "expires": expires.Format(time.RFC3339Nano)})
		all := make([]guest, n)
		for i := range all {
			if time.Until(expires) < within/4 {
				break // too slow a machine for that
			}
			all[i].cookie, all[i].form = s.session(text)
		}
		if all[n-1].cookie != "" {
			return expires, all
		}
		if within > time.Minute {
			s.t.Fatal("signing in takes too long")
		}
	}
}

// TestEachWriteIsDoneForWhoMay sends the same forms by their buttons from a session that may: what the
// others were refused would have done something.
func TestEachWriteIsDoneForWhoMay(t *testing.T) {
	s, c := startConsole(t)
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	b.open("/live")
	b.sees("[data-state]", "live")
	v := furnish(t, s, c)
	for _, w := range consoleWrites(v, c.URL) {
		before := s.state(c)
		b.prepare(w)
		b.press(w.button())
		if found := b.text(".note.good, #secret, #result"); found == "" {
			t.Fatalf("%s: the page does not say that anything was done:\n%s", w.path, b.text("body"))
		}
		waitFor(t, 10*time.Second, w.path+" changes something", func() bool { return s.state(c) != before })
		b.quiet(w.path)
	}

	// What was made by forms is of use: the link takes what it is sent, the token opens the API, and the
	// subscription is told.
	var project struct {
		Webhooks []map[string]any `json:"webhooks"`
		Incoming []map[string]any `json:"incoming"`
		Hooks    []map[string]any `json:"hooks"`
		Numbers  []map[string]any `json:"numbers"`
	}
	if err := json.Unmarshal(s.api("GET", "/projects/1001", opsToken, "", nil), &project); err != nil {
		t.Fatal(err)
	}
	if len(project.Webhooks) != 3 || len(project.Incoming) != 2 || len(project.Hooks) != 3 || len(project.Numbers) != 4 {
		t.Errorf("found %d subscriptions, %d links, %d hooks, %d numbers; want one made and one deleted of each", len(project.Webhooks), len(project.Incoming), len(project.Hooks), len(project.Numbers))
	}
	d, _ := s.route(call("380449999999"))
	if d.DstPhone != "380440000001,380440000002" {
		t.Errorf("a call to the number made by form goes to %q", d.DstPhone)
	}
}
