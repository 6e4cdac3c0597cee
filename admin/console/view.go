package console

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

//go:embed templates/*.html icons/*.svg
var templateFiles embed.FS

// pages are the pages of one language, by their templates' names.
type pages map[string]*template.Template

// shared are the templates that every page may use; the others are a page each.
const shared = "_"

// loadPages parses every page once for each language, with that language's texts.
func loadPages(t *texts, a assets) (map[string]pages, error) {
	icons, err := loadIcons()
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	all := map[string]pages{}
	for _, lang := range languages {
		base := template.New("").Funcs(functions(t, a, icons, lang)).Option("missingkey=error")
		base, err := base.ParseFS(templateFiles, "templates/"+shared+"*.html")
		if err != nil {
			return nil, err
		}
		all[lang] = pages{}
		for _, file := range names {
			name := strings.TrimSuffix(path.Base(file), ".html")
			if strings.HasPrefix(name, shared) {
				continue
			}
			page, err := base.Clone()
			if err != nil {
				return nil, err
			}
			if all[lang][name], err = page.ParseFS(templateFiles, file); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// loadIcons reads the icons, which stand in a page as they are: they are ours.
func loadIcons() (map[string]template.HTML, error) {
	icons := map[string]template.HTML{}
	entries, err := templateFiles.ReadDir("icons")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		b, err := templateFiles.ReadFile("icons/" + e.Name())
		if err != nil {
			return nil, err
		}
		icons[strings.TrimSuffix(e.Name(), ".svg")] = template.HTML(bytes.TrimSpace(b))
	}
	return icons, nil
}

// functions are what templates call.
func functions(t *texts, a assets, icons map[string]template.HTML, lang string) template.FuncMap {
	return template.FuncMap{
		"t": func(key string, args ...any) string { return t.get(lang, key, args...) },
		"n": func(key string, n int, args ...any) string { return t.count(lang, key, n, args...) },
		// say is t for a name of the API's: a reason, a state, a field. What has no text is shown as it is.
		"say": func(section, name string) string {
			if key := section + "." + name; t.has(lang, key) {
				return t.get(lang, key)
			}
			return name
		},
		"has": func(section, name string) bool { return t.has(lang, section+"."+name) },
		"icon": func(name string) (template.HTML, error) {
			svg, ok := icons[name]
			if !ok {
				return "", fmt.Errorf("there is no icon %q", name)
			}
			return svg, nil
		},
		"asset": func(name string) (string, error) {
			p, ok := a.paths[name]
			if !ok {
				return "", fmt.Errorf("there is no asset %q", name)
			}
			return p, nil
		},
		"tone":    tone,
		"segment": segment,
		"about":   about,
		"id":      idOf,
		"dict":    dict,
		"ms":      func(ms float64) string { return t.get(lang, "unit.ms", shortFloat(ms)) },
		"when":    func(at string) moment { return momentOf(t, lang, at) },
		"join":    strings.Join,
		"num":     shortFloat,
		"summary": func(o object, path string) string { return t.summary(lang, o, path) },
		"exact":   func(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) },
		// many reports that a list is too long for a menu: it is typed, and offered, instead.
		"many":      func(all []option) bool { return len(all) > 100 },
		"emptyRow":  func() liveRow { return liveRow{} },
		"stepKinds": func() []string { return stepKinds },
		"stepIcon":  func(kind string) string { return stepIcons[kind] },
		"last": func(all []object) object {
			if len(all) == 0 {
				return nil
			}
			return all[len(all)-1]
		},
		"stepForm": func(f filled, n int, step any) stepForm {
			o, _ := step.(object)
			return newStepForm(f, n, o)
		},
	}
}

// about is a page's path, said of a project where there is one.
func about(path, project string) string {
	if project == "" {
		return path
	}
	return path + "?project=" + url.QueryEscape(project)
}

// dict makes a map of pairs, for a template that takes several things.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("dict wants pairs")
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m, nil
}

// idOf makes an element's id of a field's path: "steps[0].dial" is "f-steps-0-dial".
func idOf(path string) string {
	return "f-" + strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '-'
	}, path), "-")
}

// page is what every template gets.
type page struct {
	Name  string // of the template; its title is the text page.NAME
	Title string // instead of that
	Nav   string // the entry of the menu that it stands under
	Lang  string
	Theme string // light, dark or "" for the system's
	Path  string // of this page, to come back to
	Form  string // of the session
	// Who is signed in; nil for nobody. CanWrite and CanAdmin are what the token allows.
	Who                *identity
	CanWrite, CanAdmin bool
	Project            string // looked at; "" for none chosen
	ReadOnly           string // the file that declares the project; "" where the API manages it
	Done               string // the key of what has just been done; "" for nothing
	Data               any
}

// render answers with a page.
func (v *visit) render(status int, p page) error {
	p.Lang, p.Path = v.lang, string(v.http.RequestURI())
	if string(v.http.Method()) != "GET" {
		p.Path = string(v.http.Path())
	}
	if theme := string(v.http.Request.Header.Cookie(themeCookie)); theme == "light" || theme == "dark" {
		p.Theme = theme
	}
	if done := v.query("done"); done != "" && v.texts.has(v.lang, "done."+done) {
		p.Done = "done." + done
	}
	if v.session != nil {
		p.Form, p.Who = v.session.form, &v.session.who
		p.CanWrite, p.CanAdmin = v.session.may("write"), v.session.may("admin")
		if p.Project == "" {
			p.Project = v.sessions.chosen(v.session)
		}
	}
	var out bytes.Buffer
	if err := v.pages[v.lang][p.Name].ExecuteTemplate(&out, "layout", p); err != nil {
		return fmt.Errorf("make the page %s: %w", p.Name, err)
	}
	v.http.SetStatusCode(status)
	v.page(out.Bytes())
	return nil
}

// fail answers with the page of an error. One of the API's is told in the API's own words.
func (v *visit) fail(err error) {
	var f fault
	var r *refusal
	switch {
	case errors.As(err, &f):
	case errors.As(err, &r):
		f = faultOf(r)
		if v.session == nil && string(v.http.Method()) == "GET" {
			_ = v.toTheDoor() // the token was revoked
			return
		}
	default:
		v.log.Error("a page of the console failed", zap.ByteString("path", v.http.Path()), zap.Error(err))
		f = fault{status: fasthttp.StatusInternalServerError, key: "fault.internal"}
	}
	if wantsJSON(v) {
		v.http.SetStatusCode(f.status)
		return
	}
	if err := v.render(f.status, page{Name: "fault", Data: map[string]any{"Key": f.key, "Detail": f.detail}}); err != nil {
		v.log.Error("the page of an error failed", zap.Error(err))
		v.http.Error(v.texts.get(v.lang, f.key), f.status)
	}
}

// wantsJSON tells a script's request, which gets a status only.
func wantsJSON(v *visit) bool {
	return string(v.http.Request.Header.Peek("X-Requested-By")) == "script"
}

// faultOf says in the visitor's language what an answer of the API means.
func faultOf(r *refusal) fault {
	f := fault{status: r.Status, detail: r.Message}
	switch r.Status {
	case fasthttp.StatusUnauthorized:
		f.key = "fault.signed_out"
	case fasthttp.StatusForbidden:
		f.key = "fault.forbidden"
	case fasthttp.StatusNotFound:
		f.key = "fault.not_found"
	case fasthttp.StatusConflict:
		f.key = "fault.conflict"
	case fasthttp.StatusPreconditionFailed:
		f.key = "fault.changed"
	case fasthttp.StatusTooManyRequests:
		f.key = "fault.too_many"
	case fasthttp.StatusServiceUnavailable, fasthttp.StatusInsufficientStorage:
		f.key = "fault.unavailable"
	default:
		f.key = "fault.refused"
	}
	return f
}

// toTheDoor sends one who is signed out to the sign-in page, and back afterwards. What they wanted
// done is refused.
func (v *visit) toTheDoor() error {
	if string(v.http.Method()) != "GET" || wantsJSON(v) {
		return fault{status: fasthttp.StatusUnauthorized, key: "fault.signed_out"}
	}
	back := string(v.http.RequestURI())
	if back == "/" {
		return v.redirect("/signin")
	}
	return v.redirect("/signin?back=" + url.QueryEscape(back))
}

// local returns a path of ours, "/" where it is anything else: what comes back from a form leads to no
// other site.
func local(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n") {
		return "/"
	}
	return path
}
