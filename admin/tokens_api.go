package admin

import (
	"fmt"
	"time"

	"go.uber.org/zap"
)

// tokenOperations make, list and revoke tokens; who may do that may do anything.
func tokenOperations() []operation {
	return []operation{
		{"GET", "/api/v1/tokens", scopeAdmin, false, getTokens},
		{"POST", "/api/v1/tokens", scopeAdmin, false, once(createToken)},
		{"GET", "/api/v1/tokens/{id}", scopeAdmin, false, getToken},
		{"DELETE", "/api/v1/tokens/{id}", scopeAdmin, false, revokeToken},
		{"GET", "/api/v1/me", scopeRead, false, getMe},
	}
}

// getMe says what the request's own token may do.
func getMe(r *request) error {
	return r.answer(struct {
		Name    string   `json:"name"`
		Scopes  []string `json:"scopes"`
		Project string   `json:"project"`
	}{r.who.name, r.who.scopes, r.who.project})
}

func getTokens(r *request) error {
	if r.store == nil {
		return errNoStore
	}
	list, err := listTokens(r.ctx, r.store)
	if err != nil {
		return err
	}
	return r.page(len(list), func(i int) (any, error) {
		list[i].Hash = ""
		return &list[i], list[i].readUse(r.ctx, r.store)
	})
}

func getToken(r *request) error {
	if r.store == nil {
		return errNoStore
	}
	list, err := listTokens(r.ctx, r.store)
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].ID == r.arg("id") {
			list[i].Hash = ""
			if err := list[i].readUse(r.ctx, r.store); err != nil {
				return err
			}
			return r.answer(&list[i])
		}
	}
	return notFound("such token")
}

// createToken answers with the token, this once.
func createToken(r *request) error {
	var wanted NewToken
	if err := r.decode(&wanted); err != nil {
		return err
	}
	if r.store == nil {
		return errNoStore
	}
	if wanted.Project != "" && r.lookup(wanted.Project) == nil {
		return behind(invalid("project", fmt.Sprintf("found %.80q; want a project's id, or none for all of them", wanted.Project)))
	}
	t, text, err := makeToken(r.ctx, r.store, r.who.author(), wanted, r.now(), r.random)
	if err != nil {
		return err
	}
	r.reloadTokens()
	r.plane.Record(r.ctx, t.Change("create", r.who.author()))
	r.http.Response.Header.Set("Location", "/api/v1/tokens/"+t.ID)
	return r.created(madeToken{success{true}, t.ID, text, t.Expires})
}

// madeToken is the answer to a token's making: Token is shown this once.
type madeToken struct {
	success
	ID      string     `json:"id"`
	Token   string     `json:"token"`
	Expires *time.Time `json:"expires"`
}

func revokeToken(r *request) error {
	if r.store == nil {
		return errNoStore
	}
	t, err := RevokeToken(r.ctx, r.store, r.arg("id"))
	if err != nil {
		return err
	}
	r.reloadTokens()
	r.plane.Record(r.ctx, t.Change("delete", r.who.author()))
	return r.done()
}

// reloadTokens makes a change of the tokens hold here before it is answered. Other instances learn of
// it by watching the store.
func (r *request) reloadTokens() {
	if err := r.tokens.load(r.ctx); err != nil {
		r.log.Warn("the change of a token holds here when the store is watched next", zap.Error(err))
	}
}
