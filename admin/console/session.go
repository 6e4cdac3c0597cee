package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// The cookies. The session's id says nothing about the token; the other two are of no use to a thief.
const (
	sessionCookie = "hookswitch_session"
	langCookie    = "hookswitch_lang"
	themeCookie   = "hookswitch_theme"
)

// How long a session lives: from its beginning, and without a request. An open page asks now and
// then, so idle means that no page is open.
const (
	sessionLife = 12 * time.Hour
	sessionIdle = time.Hour
	maxSessions = 1000
)

// session is one browser that has shown a token. It is changed by nobody after its beginning but for
// seen, project and held, which sessions guards.
type session struct {
	token schema.Secret
	// form is what every form of this session sends back, so that no other site's form is ours.
	form  string
	who   identity
	began time.Time

	seen    time.Time
	project string // chosen last
	held    []heldSecret
}

// heldSecret is what is to be shown once, on a page that may be loaded again: then it is gone.
type heldSecret struct {
	key, nav, next string
	text           secret
}

// maxHeld bounds what a session holds that nobody came to see.
const maxHeld = 8

// identity is what the API says of a token.
type identity struct {
	Name    string   `json:"name"`
	Scopes  []string `json:"scopes"`
	Project string   `json:"project"`
}

// sessions are those open now, in memory: a restart signs everybody out.
type sessions struct {
	now func() time.Time

	mu sync.Mutex // guards by, and seen, project and held of each
	by map[[sha256.Size]byte]*session
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, by: map[[sha256.Size]byte]*session{}}
}

// random returns 256 bits as text.
func random() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// begin opens a session and returns its id, for the cookie. Where there are too many, the one that
// was idle longest ends.
func (s *sessions) begin(token string, who identity) string {
	id, now := random(), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now)
	s.by[sha256.Sum256([]byte(id))] = &session{
		token: schema.NewSecret(token), form: random(), who: who, began: now, seen: now, project: who.Project,
	}
	return id
}

// find returns the session of a cookie, nil where there is none or it is over.
func (s *sessions) find(id string) *session {
	if id == "" {
		return nil
	}
	key, now := sha256.Sum256([]byte(id)), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.by[key]
	if found == nil {
		return nil
	}
	if found.over(now) {
		delete(s.by, key)
		return nil
	}
	found.seen = now
	return found
}

// over reports whether the session's time is up.
func (s *session) over(now time.Time) bool {
	return now.Sub(s.began) >= sessionLife || now.Sub(s.seen) >= sessionIdle
}

// alive reports whether the session still is one, without counting as its use.
func (s *sessions) alive(one *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.by {
		if other == one {
			return !one.over(s.now())
		}
	}
	return false
}

// end closes a session. It is harmless to end one twice.
func (s *sessions) end(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, other := range s.by {
		if other == one {
			delete(s.by, key)
		}
	}
}

// choose remembers the project that a session looks at; chosen tells it.
func (s *sessions) choose(one *session, project string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.project = project
}

// leave forgets a project, where that is the one chosen.
func (s *sessions) leave(one *session, project string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.project == project {
		one.project = ""
	}
}

func (s *sessions) chosen(one *session) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return one.project
}

// hold keeps something for take, once, and returns by which key.
func (s *sessions) hold(one *session, h heldSecret) string {
	h.key = random()
	s.mu.Lock()
	defer s.mu.Unlock()
	one.held = append(one.held, h)
	one.held = one.held[max(0, len(one.held)-maxHeld):]
	return h.key
}

func (s *sessions) take(one *session, key string) (heldSecret, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(one.held, func(h heldSecret) bool { return h.key == key })
	if i < 0 {
		return heldSecret{}, false
	}
	found := one.held[i]
	one.held = slices.Delete(one.held, i, i+1)
	return found, true
}

// forget drops those that are over, and the one idle longest while there are too many.
func (s *sessions) forget(now time.Time) {
	for key, one := range s.by {
		if one.over(now) {
			delete(s.by, key)
		}
	}
	for len(s.by) >= maxSessions {
		var oldest [sha256.Size]byte
		var since time.Time
		for key, one := range s.by {
			if since.IsZero() || one.seen.Before(since) {
				oldest, since = key, one.seen
			}
		}
		delete(s.by, oldest)
	}
}

// may reports whether the session's token has a scope, or one that holds it.
func (s *session) may(scope string) bool {
	for _, one := range s.who.Scopes {
		if one == scope || one == "admin" {
			return true
		}
	}
	return false
}

// checkOrigin refuses a form that another site's page sent. Browsers say where a POST comes from
// (Fetch Metadata, and Origin: RFC 6454); what is no browser says neither, and has no cookie to abuse.
func (v *visit) checkOrigin() error {
	refused := fault{status: fasthttp.StatusForbidden, key: "fault.origin"}
	switch string(v.http.Request.Header.Peek("Sec-Fetch-Site")) {
	case "same-origin":
		return nil // no page can forge it; the Origin says no more, and a proxy may have rewritten the Host
	case "", "none":
	default:
		return refused
	}
	origin := string(v.http.Request.Header.Peek("Origin"))
	if origin == "" {
		return nil
	}
	// The scheme is left out: a proxy in front of us may have ended TLS.
	u, err := url.Parse(origin)
	if err != nil || !strings.EqualFold(u.Host, string(v.http.Host())) {
		return refused
	}
	return nil
}

// checkForm refuses a form that is not of this session.
func (v *visit) checkForm() error {
	sent := v.http.PostArgs().Peek("form")
	if header := v.http.Request.Header.Peek("X-Form"); len(header) > 0 {
		sent = header
	}
	if subtle.ConstantTimeCompare(sent, []byte(v.session.form)) != 1 {
		return fault{status: fasthttp.StatusForbidden, key: "fault.form"}
	}
	return nil
}

// setCookie sets a cookie that no script needs to read and no other site's request brings along.
func (v *visit) setCookie(name, value string, life time.Duration) {
	c := fasthttp.AcquireCookie()
	defer fasthttp.ReleaseCookie(c)
	c.SetKey(name)
	c.SetValue(value)
	c.SetPath("/")
	c.SetHTTPOnly(true)
	c.SetSameSite(fasthttp.CookieSameSiteStrictMode)
	// A proxy that ended TLS says so; one who lies about it only keeps himself out.
	c.SetSecure(v.http.IsTLS() || string(v.http.Request.Header.Peek("X-Forwarded-Proto")) == "https")
	if life > 0 {
		c.SetMaxAge(int(life.Seconds()))
	} else {
		c.SetExpire(fasthttp.CookieExpireDelete)
	}
	v.http.Response.Header.SetCookie(c)
}
