package admin

import (
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// identity is who a token says is asking.
type identity struct {
	name    string
	scopes  []string
	project string // what the token is bound to; "" for every project, and the installation
	id      string // of a token made by the API; "" for the file's
}

// author is who a change is put down to, in the audit trail.
func (i *identity) author() string {
	if i.id == "" {
		return i.name
	}
	return i.name + " (token " + i.id + ")"
}

// may reports whether the token allows what wants the scope. A token of the file that may write, and
// is bound to no project, is an administrator's.
func (i *identity) may(scope string) bool {
	if scope == scopeAdmin && i.project != "" {
		return false
	}
	return slices.Contains(i.scopes, scope) || slices.Contains(i.scopes, scopeAdmin)
}

// enter finds out who asks, whether they may, and which project it is about.
func (s *Server) enter(r *request) error {
	if err := s.identify(r); err != nil {
		return err
	}
	if !r.who.may(r.op.Scope) {
		return forbidden("this token lacks the scope " + r.op.Scope)
	}
	r.config, r.refused = s.plane.Current(), s.plane.Refused()
	if !r.op.Project {
		return nil
	}
	id, err := projectOf(r)
	if err != nil {
		return err
	}
	return r.enterProject(id)
}

// enterProject makes the request one about the project id, where the token's is that or any.
func (r *request) enterProject(id string) error {
	if r.who.project != "" && r.who.project != id {
		return forbidden("this token is bound to another project")
	}
	if r.project = r.lookup(id); r.project == nil {
		return behind(notFound("such project"))
	}
	return nil
}

// projectOf returns the project that the request names: by the Client header of the documented API,
// by the parameter project, or by its token.
func projectOf(r *request) (string, error) {
	named, also := r.header("Client"), r.query("project")
	switch {
	case named != "" && also != "" && named != also:
		return "", refusal{status: fasthttp.StatusBadRequest, message: "the header Client and the parameter project name different projects"}
	case named == "" && also == "":
		if r.who.project == "" {
			return "", refusal{status: fasthttp.StatusBadRequest, message: "which project? Name its id in the header Client, or in the parameter project"}
		}
		return r.who.project, nil
	case named == "":
		return also, nil
	}
	return named, nil
}

// identify finds out whose token the request has. One that is wrong costs its address some of its
// patience; one without a token at all is no guess. A token that is right is never kept waiting: behind
// a proxy everybody has one address, and one guesser would keep out all.
func (s *Server) identify(r *request) error {
	scheme, token, _ := strings.Cut(r.header("Authorization"), " ")
	if token = strings.TrimSpace(token); token == "" || !strings.EqualFold(scheme, "Bearer") {
		return refusal{status: fasthttp.StatusUnauthorized, message: "want the header Authorization: Bearer TOKEN"}
	}
	now := s.now()
	if r.who = s.tokens.find(token, now); r.who != nil {
		return nil
	}
	address := addressOf(r.http.RemoteAddr())
	if wait := s.failures.wait(address, now); wait > 0 {
		return refusal{status: fasthttp.StatusTooManyRequests, message: "too many wrong tokens from this address", retryAfter: seconds(wait)}
	}
	s.failures.add(address, now)
	return refusal{status: fasthttp.StatusUnauthorized, message: "this token opens nothing: it is wrong, revoked or expired"}
}

func forbidden(message string) error {
	return refusal{status: fasthttp.StatusForbidden, message: message}
}
