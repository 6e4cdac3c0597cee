package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is one tab of a real Chromium, without a window.
type browser struct {
	t    *testing.T
	ctx  context.Context
	home string // the console's origin

	mu       sync.Mutex // guards what follows
	dialogs  []string   // what alert and its like said: a script of somebody else's ran
	errors   []string   // uncaught errors, and what the Content-Security-Policy refused
	requests []string   // every URL asked for
	bytes    float64    // received over the network since it was set to 0
}

// openBrowser starts Chromium, which ends with the test.
func openBrowser(t *testing.T, home string) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("no chromium here; scripts/setup installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("lang", "en"),
		chromedp.Env("LANGUAGE=en"), chromedp.WindowSize(1280, 900))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, home: home}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	command(b, network.Enable, network.EnableParams{})
	command(b, runtime.Enable, cdp.Empty{})
	command(b, log.Enable, cdp.Empty{})
	command(b, page.Enable, page.EnableParams{})
	return b
}

// note takes down what happens in the tab.
func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		b.dialogs = append(b.dialogs, e.Message)
		go command(b, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, fmt.Sprintf("%+v", e.ExceptionDetails))
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity || e.Entry.Source == log.EntrySourceJavascript {
			b.errors = append(b.errors, e.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *network.EventLoadingFinished:
		b.bytes += e.EncodedDataLength
	}
}

// patience is as long as one thing in the browser may take.
const patience = 30 * time.Second

// command sends a command of the DevTools protocol to the tab.
func command[P, R any](b *browser, c cdp.Command[P, R], params P) {
	b.t.Helper()
	inTab(b, func(ctx context.Context, tab *chromedp.Target) (R, error) { return cdp.Call(ctx, tab, c, params) })
}

// inTab does one thing in the browser and returns what it gives.
func inTab[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Errorf("in the browser: %v", err)
		b.t.FailNow()
	}
	return v
}

func (b *browser) open(path string) {
	b.t.Helper()
	inTab(b, chromedp.Navigate(b.home+path))
}

// eval runs a script of the test's in the page, awaits it, and returns what it gives.
func eval[T any](b *browser, script string) T {
	b.t.Helper()
	return inTab(b, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
}

// text returns what stands in the first element that a selector finds, "" for none.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return eval[string](b, "document.querySelector("+inScript(selector)+")?.innerText ?? ''")
}

func (b *browser) location() string { return eval[string](b, "location.pathname + location.search") }

func inScript(s string) string {
	q, _ := json.Marshal(s) // a string always can be
	return string(q)
}

// sees waits until a text stands in the page.
func (b *browser) sees(selector, want string) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if strings.Contains(b.text(selector), want) {
			return
		}
	}
	b.t.Fatalf("waited in vain for %q in %s at %s; found\n%s", want, selector, b.location(), b.text("body"))
}

// fill puts a value into a field, as if it were typed or chosen.
func (b *browser) fill(selector, value string) {
	b.t.Helper()
	found := eval[string](b, `(() => {
		const field = document.querySelector(`+inScript(selector)+`);
		if (!field) return "no such field";
		field.focus();
		field.value = `+inScript(value)+`;
		for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, {bubbles: true}));
		return field.value;
	})()`)
	if found != value {
		b.t.Fatalf("fill %s at %s: found %q; want %q", selector, b.location(), found, value)
	}
}

// click clicks what a selector finds, with the mouse.
func (b *browser) click(selector string) {
	b.t.Helper()
	inTab(b, chromedp.Click(chromedp.CSS(selector)))
}

// press clicks what a selector finds, and waits for the page that it leads to.
func (b *browser) press(selector string) {
	b.t.Helper()
	b.leave(selector, func() { b.click(selector) })
}

// leave does what leads to another page, and waits for it.
func (b *browser) leave(what string, do func()) {
	b.t.Helper()
	eval[bool](b, "window.hereBefore = true")
	do()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		gone, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("window.hereBefore === undefined && document.readyState === 'complete'"))
		cancel()
		if err == nil && gone { // a page that is being left answers with an error
			return
		}
	}
	b.t.Fatalf("pressed %s at %s, and no page came", what, b.location())
}

// unfold opens all that is folded in the page.
func (b *browser) unfold() {
	b.t.Helper()
	eval[any](b, `document.querySelectorAll("main details").forEach((d) => { d.open = true; })`)
}

// shows reports whether a text stands in the page, to be seen: in a text or in a field. Blanks are not
// told apart.
func (b *browser) shows(want string) bool {
	b.t.Helper()
	b.unfold()
	return eval[bool](b, `((want) => {
		const plain = (s) => s.replace(/\s+/g, " ");
		const fields = Array.from(document.querySelectorAll("main input, main textarea")).filter((f) => f.type !== "hidden" && f.checkVisibility()).map((f) => f.value);
		return [document.querySelector("main").innerText, ...fields].some((s) => plain(s).includes(plain(want)));
	})(`+inScript(want)+`)`)
}

// wantShown fails the test where a text is not to be seen in the page.
func (b *browser) wantShown(where, want string) {
	b.t.Helper()
	if !b.shows(want) {
		b.t.Errorf("%s: %q is not to be seen in the page\n%.4000s", where, want, b.text("main"))
	}
}

// cookie returns the session's, "" for none.
func (b *browser) cookie() string {
	b.t.Helper()
	found := inTab(b, func(ctx context.Context, tab *chromedp.Target) (network.GetCookiesResult, error) {
		return cdp.Call(ctx, tab, network.GetCookies, network.GetCookiesParams{URLs: []string{b.home}})
	})
	for _, c := range found.Cookies {
		if c.Name == sessionCookie {
			return c.Value
		}
	}
	return ""
}

// sessionCookie is the console's.
const sessionCookie = "hookswitch_session"

// become gives the tab a session's cookie, "" for none.
func (b *browser) become(cookie string) {
	b.t.Helper()
	command(b, network.ClearBrowserCookies, cdp.Empty{})
	if cookie != "" {
		command(b, network.SetCookie, network.SetCookieParams{Name: sessionCookie, Value: cookie, URL: b.home})
	}
}

// signIn opens a session with a token.
func (b *browser) signIn(token string) {
	b.t.Helper()
	b.open("/signin")
	b.fill("#token", token)
	b.press("form.card button")
	b.sees("h1", "Overview")
}

// quiet fails the test where a script that is not ours has run, or one of ours has failed.
func (b *browser) quiet(where string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.dialogs {
		b.t.Errorf("%s: a dialog opened: %q", where, d)
	}
	for _, e := range b.errors {
		b.t.Errorf("%s: %s", where, e)
	}
	b.dialogs, b.errors = nil, nil
}

// look is one way that a page can look.
type look struct {
	name          string
	width, height int64
	dark, phone   bool
}

var looks = []look{
	{"light", 1280, 900, false, false},
	{"dark", 1280, 900, true, false},
	{"phone", 390, 844, false, true},
}

// wear makes the tab look so.
func (b *browser) wear(l look) {
	b.t.Helper()
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	command(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.phone})
	command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// screenshots is the folder that pictures of the pages are put into; empty for none. make e2e names one.
var screenshots = os.Getenv("HOOKSWITCH_SCREENSHOTS")

// picture puts a picture of the whole page into that folder.
func (b *browser) picture(name string) {
	b.t.Helper()
	if screenshots == "" {
		return
	}
	png := inTab(b, chromedp.FullScreenshot(100))
	if err := os.MkdirAll(screenshots, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(screenshots, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// adminURL returns where the admin listener is, which the log says.
func (s *service) adminURL() string {
	s.t.Helper()
	found := ""
	waitFor(s.t, 10*time.Second, "the admin listener's address in the log", func() bool {
		for line := range strings.Lines(s.log.all()) {
			var l struct {
				Admin string `json:"admin"`
				Also  string `json:"admin_listen"`
			}
			if json.Unmarshal([]byte(line), &l) == nil && l.Admin+l.Also != "" {
				found = l.Admin + l.Also
			}
		}
		return found != ""
	})
	return "http://" + found
}

// api asks the admin API and fails the test where it does not answer with a status below 300.
func (s *service) api(method, path, token, project string, body any) []byte {
	s.t.Helper()
	sent, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	if body == nil {
		sent = nil
	}
	req, err := http.NewRequest(method, s.adminURL()+"/api/v1"+path, bytes.NewReader(sent))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	if project != "" {
		req.Header.Set("Client", project)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}
	return answer
}
