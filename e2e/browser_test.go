package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

	"github.com/chromedp/cdproto/emulation"
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
		chromedp.Env("LANGUAGE=en"), chromedp.WSURLReadTimeout(time.Minute), chromedp.WindowSize(1280, 900))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, end := context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(end)
	b := &browser{t: t, ctx: ctx, home: home}
	chromedp.ListenTarget(ctx, b.note)
	b.do(network.Enable(), runtime.Enable(), page.Enable())
	return b
}

// note takes down what happens in the tab.
func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		b.dialogs = append(b.dialogs, e.Message)
		go chromedp.Run(b.ctx, page.HandleJavaScriptDialog(true))
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError {
			b.errors = append(b.errors, fmt.Sprint(e.Args))
		}
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *network.EventLoadingFinished:
		b.bytes += e.EncodedDataLength
	}
}

// do runs actions, and fails the test where one does not come true within 20 seconds.
func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	for i, action := range actions {
		ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
		err := chromedp.Run(b.ctx, within(ctx, action))
		cancel()
		if err != nil {
			b.t.Fatalf("in the browser, action %d: %v\nat %s\n%s", i+1, err, b.location(), b.text("body"))
		}
	}
}

// within runs an action for no longer than ctx.
func within(ctx context.Context, action chromedp.Action) chromedp.Action {
	return chromedp.ActionFunc(func(tab context.Context) error {
		tab, cancel := context.WithCancelCause(tab)
		defer cancel(nil)
		stop := context.AfterFunc(ctx, func() { cancel(errors.New("waited in vain")) })
		defer stop()
		return action.Do(tab)
	})
}

func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.home+path), chromedp.WaitReady("main"))
}

// eval runs a script of the test's in the page and returns what it gives.
func eval[T any](b *browser, script string) (v T) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 60*time.Second)
	defer cancel()
	err := chromedp.Run(b.ctx, within(ctx, chromedp.Evaluate(script, &v, func(p *runtime.EvaluateParams) *runtime.EvaluateParams {
		return p.WithAwaitPromise(true)
	})))
	if err != nil {
		b.t.Fatalf("evaluate %.80s: %v", script, err)
	}
	return v
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
	b.t.Fatalf("waited in vain for %q in %s at %s; found\n%s", want, selector, b.location(), b.text(selector))
}

// fill puts a value into a field, as if it were typed.
func (b *browser) fill(selector, value string) {
	b.t.Helper()
	b.do(chromedp.SetValue(selector, value, chromedp.ByQuery))
	eval[bool](b, "document.querySelector("+inScript(selector)+").dispatchEvent(new Event('change', {bubbles: true}))")
}

// press clicks what a selector finds, and waits for the page that it leads to.
func (b *browser) press(selector string) {
	b.t.Helper()
	eval[bool](b, "window.hereBefore = true")
	b.do(chromedp.Click(selector, chromedp.ByQuery))
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if eval[bool](b, "window.hereBefore === undefined && document.readyState === 'complete'") {
			return
		}
	}
	b.t.Fatalf("pressed %s at %s, and no page came", selector, b.location())
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
	b.do(
		emulation.SetDeviceMetricsOverride(l.width, l.height, 1, l.phone),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
	)
}

// screenshots is the folder that pictures of the pages are put into; empty for none.
var screenshots = os.Getenv("HOOKSWITCH_SCREENSHOTS")

// picture puts a picture of the whole page into that folder.
func (b *browser) picture(name string) {
	b.t.Helper()
	if screenshots == "" {
		return
	}
	var png []byte
	b.do(chromedp.FullScreenshot(&png, 100))
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
