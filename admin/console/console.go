// Package console is the operators' pages: what is decided now, why, and the settings behind it. It
// is a client of the admin API and nothing more: each page asks the API, in this process, with the
// token that the session was opened with, so that what a page may see and change, how that is
// checked and who is written down for it are the API's affair alone. It keeps sessions in memory
// and nothing else, fetches nothing from elsewhere, and needs no script to be used, but for the
// live list.
package console

import (
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"hookswitch/schema"
)

// Options are what a Console depends on. API is required.
type Options struct {
	// API answers the requests of the admin API, as the admin listener would.
	API fasthttp.RequestHandler
	// Address is the URL of the PBX's listener, without a path, as it is now; nil for the default one.
	Address func() string
	// Log gets faults of our own; nil for no log.
	Log *zap.Logger
	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// Console answers the requests for pages. It may be used from any goroutine.
type Console struct {
	api      fasthttp.RequestHandler
	address  func() string
	log      *zap.Logger
	now      func() time.Time
	sessions *sessions
	texts    *texts
	assets   assets
	pages    map[string]pages // by language
}

// New makes a Console. It fails only where what is embedded is broken.
func New(o Options) (*Console, error) {
	c := &Console{api: o.API, address: o.Address, log: o.Log, now: o.Now}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	if c.address == nil {
		c.address = func() string { return "http://127.0.0.1:8077" }
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.sessions = newSessions(c.now)
	var err error
	if c.texts, err = loadTexts(); err != nil {
		return nil, err
	}
	if c.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	if c.pages, err = loadPages(c.texts, c.assets); err != nil {
		return nil, err
	}
	return c, nil
}

// route is one page, or one thing that a page's form does.
type route struct {
	method, path string
	// open: no session is needed. Other routes get a signed-out visitor to the door.
	open   bool
	handle func(*visit) error
}

// routes is every page there is. {name} stands for one segment of the path.
func routes() []route {
	return []route{
		{"GET", "/signin", true, (*visit).signInPage},
		{"POST", "/signin", true, (*visit).signIn},
		{"POST", "/signout", false, (*visit).signOut},
		{"POST", "/preferences", true, (*visit).setPreferences},
		{"GET", "/static/{name}", true, (*visit).asset},

		{"GET", "/", false, (*visit).overview},
		{"GET", "/overview/stream", false, (*visit).overviewStream},
		{"GET", "/live", false, (*visit).live},
		{"GET", "/live/stream", false, (*visit).liveStream},
		{"GET", "/decisions/{id}", false, (*visit).decision},
		{"GET", "/try", false, (*visit).tryPage},
		{"POST", "/try", false, (*visit).tryCall},
		{"GET", "/deliveries", false, (*visit).deliveries},
		{"POST", "/deliveries/replay", false, (*visit).replayFailed},
		{"GET", "/deliveries/{id}", false, (*visit).delivery},
		{"POST", "/deliveries/{id}/replay", false, (*visit).replayOne},
		{"GET", "/shown/{key}", false, (*visit).shownOnce},
		{"GET", "/tokens", false, (*visit).tokens},
		{"POST", "/tokens", false, (*visit).createToken},
		{"POST", "/tokens/{id}/revoke", false, (*visit).revokeToken},
		{"GET", "/audit", false, (*visit).audit},
		{"GET", "/projects", false, (*visit).projects},
		{"POST", "/projects", false, (*visit).createProject},
		{"GET", "/projects/{id}", false, (*visit).projectPage},
		{"POST", "/projects/{id}", false, (*visit).updateProject},
		{"POST", "/projects/{id}/delete", false, (*visit).removeProject},

		{"GET", "/p/{project}/{kind}", false, (*visit).list},
		{"GET", "/p/{project}/{kind}/new", false, (*visit).blank},
		{"POST", "/p/{project}/{kind}/new", false, (*visit).create},
		{"GET", "/p/{project}/{kind}/{id}", false, (*visit).show},
		{"POST", "/p/{project}/{kind}/{id}", false, (*visit).update},
		{"POST", "/p/{project}/{kind}/{id}/delete", false, (*visit).remove},
		{"POST", "/p/{project}/{kind}/{id}/enable", false, (*visit).enable},
		{"POST", "/p/{project}/{kind}/{id}/rotate", false, (*visit).rotate},
		{"POST", "/p/{project}/{kind}/{id}/finish", false, (*visit).finishRotation},
	}
}

// visit is one request under way. Its strings are its own; http ends with the handler.
type visit struct {
	*Console
	http    *fasthttp.RequestCtx
	args    map[string]string // what {name} in the route's path stands for, unescaped
	lang    string
	session *session // nil for one who is signed out
}

// Handle answers one request: it is the fasthttp handler of everything outside /api/.
func (c *Console) Handle(http *fasthttp.RequestCtx) {
	v := &visit{Console: c, http: http}
	defer v.skip()
	defer v.recovered()
	v.secure()
	v.lang = c.texts.choose(string(http.Request.Header.Cookie(langCookie)), string(http.Request.Header.Peek("Accept-Language")))
	v.session = c.sessions.find(string(http.Request.Header.Cookie(sessionCookie)))
	if err := v.serve(); err != nil {
		v.fail(err)
	}
}

// recovered answers where a page panicked: fasthttp would let the process die. It is deferred.
func (v *visit) recovered() {
	if wrong := recover(); wrong != nil {
		v.log.Error("recovered a panic; please report it", zap.Any("panic", wrong), zap.ByteString("stack", debug.Stack()))
		v.http.Response.Reset()
		v.http.SetStatusCode(fasthttp.StatusInternalServerError)
	}
}

func (v *visit) serve() error {
	method, path := string(v.http.Method()), string(v.http.Path())
	if method == "HEAD" {
		method = "GET" // the server leaves the body out
	}
	known := false
	for _, r := range routes() {
		args, ok := match(r.path, path)
		if !ok {
			continue
		}
		if known = true; r.method != method {
			continue
		}
		v.args = args
		if method == "POST" {
			if err := v.checkOrigin(); err != nil {
				return err
			}
		}
		if !r.open && v.session == nil {
			return v.toTheDoor()
		}
		if method == "POST" {
			if err := v.takePosted(r.open); err != nil {
				return err
			}
		}
		return r.handle(v)
	}
	if known {
		return fault{status: fasthttp.StatusMethodNotAllowed, key: "fault.method"}
	}
	return fault{status: fasthttp.StatusNotFound, key: "fault.not_found"}
}

// takePosted reads a form, and refuses one that is not of the session where there has to be one.
func (v *visit) takePosted(open bool) error {
	if open {
		return v.takeForm(maxOpenForm)
	}
	if err := v.takeForm(maxForm); err != nil {
		return err
	}
	return v.checkForm()
}

// match compares a path with a pattern, and returns what each {name} stands for.
func match(pattern, path string) (map[string]string, bool) {
	var args map[string]string
	for {
		want, moreWanted, more := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
		found, moreFound, also := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		switch {
		case more != also:
			return nil, false
		case strings.HasPrefix(want, "{") && found != "":
			if args == nil {
				args = map[string]string{}
			}
			args[want[1:len(want)-1]] = found
		case want != found:
			return nil, false
		}
		if !more {
			return args, true
		}
		pattern, path = moreWanted, moreFound
	}
}

// secure sets the headers that every answer has. Nothing runs, loads or frames but what is ours, so
// that a text that got past the escaping would still do nothing.
func (v *visit) secure() {
	h := &v.http.Response.Header
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would take the Origin from our own forms
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// fault is an error with its page: a status and the key of what the visitor is told.
type fault struct {
	status int
	key    string
	detail string // of the API, in its own words; may be empty
}

func (f fault) Error() string { return fmt.Sprintf("%s: %s", f.key, f.detail) }

// query returns a parameter of the URL; form one of the posted form.
func (v *visit) query(name string) string { return string(v.http.QueryArgs().Peek(name)) }
func (v *visit) form(name string) string {
	return strings.ReplaceAll(string(v.http.PostArgs().Peek(name)), "\r\n", "\n")
}

// redirect sends the browser on to a path of ours, by GET.
func (v *visit) redirect(path string) error {
	v.http.Response.Header.Set("Location", path)
	v.http.SetStatusCode(fasthttp.StatusSeeOther)
	return nil
}

// secret keeps a session's token out of whatever prints it.
type secret = schema.Secret
