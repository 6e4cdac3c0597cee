package console

import (
	"errors"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// signInPage asks for a token.
func (v *visit) signInPage() error {
	if v.session != nil {
		return v.redirect(local(v.query("back")))
	}
	return v.door(fasthttp.StatusOK, "", local(v.query("back")))
}

// door shows the sign-in form, with what was wrong with the last try.
func (v *visit) door(status int, wrong, back string) error {
	return v.render(status, page{Name: "signin", Data: map[string]any{"Wrong": wrong, "Back": back}})
}

// signIn opens a session for a token that the API knows. The API counts the wrong ones and makes who
// sends many wait.
func (v *visit) signIn() error {
	token, back := strings.TrimSpace(v.form("token")), local(v.form("back"))
	if token == "" || strings.ContainsAny(token, "\r\n\x00") {
		return v.door(fasthttp.StatusUnprocessableEntity, "signin.empty", back)
	}
	var who identity
	g, err := v.askWith(schema.NewSecret(token), ask{method: "GET", path: "/me"})
	if err == nil {
		err = g.into(&who)
	}
	var r *refusal
	switch {
	case errors.As(err, &r) && r.Status == fasthttp.StatusUnauthorized:
		return v.door(fasthttp.StatusUnauthorized, "signin.wrong", back)
	case errors.As(err, &r) && r.Status == fasthttp.StatusTooManyRequests:
		v.http.Response.Header.Set("Retry-After", r.retry)
		return v.door(fasthttp.StatusTooManyRequests, "signin.too_many", back)
	case err != nil:
		return err
	}
	if v.session != nil {
		v.sessions.end(v.session)
	}
	v.setCookie(sessionCookie, v.sessions.begin(token, who), sessionLife)
	return v.redirect(back)
}

// signOut ends the session, and what the browser keeps of it.
func (v *visit) signOut() error {
	v.sessions.end(v.session)
	v.setCookie(sessionCookie, "", -1)
	v.http.Response.Header.Set("Clear-Site-Data", `"cache"`)
	return v.redirect("/signin")
}

// setPreferences takes over a language or a theme. They are the browser's, not the session's.
func (v *visit) setPreferences() error {
	const keep = 365 * 24 * time.Hour
	if lang := v.form("lang"); v.texts.by[lang] != nil {
		v.setCookie(langCookie, lang, keep)
	}
	switch theme := v.form("theme"); theme {
	case "light", "dark":
		v.setCookie(themeCookie, theme, keep)
	case "system":
		v.setCookie(themeCookie, "", -1)
	}
	return v.redirect(local(v.form("back")))
}
