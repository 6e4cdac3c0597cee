package console

import (
	"errors"
	"net/url"
	"strconv"

	"github.com/valyala/fasthttp"
)

// Which project a page is about. A path or a URL says so; the session only remembers where to begin. A
// form always says it: another tab may have turned to another project since the form was shown.

// projectSettings is what a page wants to know of a project besides its lists.
type projectSettings struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	DefaultSchema string `json:"default_schema"`
	ReadOnly      string `json:"read_only"`
}

// settings turns to a project: it finds it in the list of those that the token may see, which answers
// without all the numbers that are in one, and remembers it. One that is gone is not remembered any more.
func (v *visit) settings(project string) (projectSettings, error) {
	for n := 1; ; n++ {
		var found struct {
			Data []projectSettings `json:"data"`
		}
		q := url.Values{"q": {project}, "per_page": {"100"}, "page": {strconv.Itoa(n)}}
		if err := v.get("", "/projects", q, &found); err != nil {
			return projectSettings{}, err
		}
		for _, p := range found.Data {
			if p.ID == project {
				v.sessions.choose(v.session, project)
				return p, nil
			}
		}
		if len(found.Data) < 100 {
			v.sessions.leave(v.session, project)
			return projectSettings{}, fault{status: fasthttp.StatusNotFound, key: "fault.no_project"}
		}
	}
}

// project returns the project that a page outside /p/ is about: the one asked for by its URL, the one
// looked at last where that is still there, the token's own, or the first there is; "" for none.
func (v *visit) project() (string, error) {
	if asked := v.query("project"); asked != "" {
		_, err := v.settings(asked)
		return asked, err
	}
	if chosen := v.sessions.chosen(v.session); chosen != "" {
		var gone fault
		if _, err := v.settings(chosen); err == nil || !errors.As(err, &gone) {
			return chosen, err
		}
	}
	var found paged
	if err := v.get("", "/projects", url.Values{"per_page": {"1"}}, &found); err != nil || len(found.Data) == 0 {
		return "", err
	}
	first := found.Data[0].Text("id")
	v.sessions.choose(v.session, first)
	return first, nil
}

// postedProject returns the project that a form says it is about.
func (v *visit) postedProject() (string, error) {
	if project := v.form("project"); project != "" {
		return project, nil
	}
	if !v.session.may("write") {
		return "", fault{status: fasthttp.StatusForbidden, key: "fault.forbidden"}
	}
	return "", fault{status: fasthttp.StatusNotFound, key: "fault.no_project"}
}
