package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"hookswitch/schema"
)

// resourceOperations are those of a project's lists.
func resourceOperations() []operation {
	return slices.Concat(
		numbers.operations(), schemas.operations(), hooks.operations(), intakes.operations(), incoming.operations(),
		[]operation{
			{"POST", "/api/v1/hooks/{id}/breaker", scopeWrite, true, forceBreaker},
			{"POST", "/api/v1/incoming/{id}/rotate", scopeWrite, true, rotate},
			{"POST", "/api/v1/incoming/{id}/rotate/finish", scopeWrite, true, finishRotation},
		})
}

var numbers = collection[schema.Number]{
	name: "numbers", noun: "number", idKey: "number",
	list:  func(p *schema.Project) *[]schema.Number { return &p.Numbers },
	id:    func(n *schema.Number) string { return n.Number },
	setID: func(n *schema.Number, id string) { n.Number = id },
	matches: func(n *schema.Number, q string) bool {
		return has(strings.TrimPrefix(q, "+"), n.Number) || has(q, n.Pool, n.Schema)
	},
	prepare: func(_ *request, _, n *schema.Number, _ []byte) error {
		if digits := schema.Digits(n.Number); digits != "" {
			n.Number = digits // as the check would, so that it is found again
		}
		return nil
	},
}

var schemas = collection[schema.Scheme]{
	name: "schemas", noun: "schema", idKey: "id",
	list:    func(p *schema.Project) *[]schema.Scheme { return &p.Schemas },
	id:      func(s *schema.Scheme) string { return s.ID },
	setID:   func(s *schema.Scheme, id string) { s.ID = id },
	matches: func(s *schema.Scheme, q string) bool { return has(q, s.ID, s.Name) },
}

var hooks = collection[schema.Hook]{
	name: "hooks", noun: "hook", idKey: "id",
	list:    func(p *schema.Project) *[]schema.Hook { return &p.Hooks },
	id:      func(h *schema.Hook) string { return h.ID },
	setID:   func(h *schema.Hook, id string) { h.ID = id },
	matches: func(h *schema.Hook, q string) bool { return has(q, h.ID, h.Name, h.URL) },
}

var intakes = collection[schema.IntakeRename]{
	name: "intakes", noun: "intake", idKey: "format",
	list:    func(p *schema.Project) *[]schema.IntakeRename { return &p.Intakes },
	id:      func(in *schema.IntakeRename) string { return in.Format },
	setID:   func(in *schema.IntakeRename, id string) { in.Format = id },
	matches: func(in *schema.IntakeRename, q string) bool { return has(q, in.Format) },
}

var incoming = collection[schema.Incoming]{
	name: "incoming", noun: "incoming link", idKey: "id",
	list:       func(p *schema.Project) *[]schema.Incoming { return &p.Incoming },
	id:         func(in *schema.Incoming) string { return in.ID },
	setID:      func(in *schema.Incoming, id string) { in.ID = id },
	matches:    func(in *schema.Incoming, q string) bool { return has(q, in.ID, in.Name, in.Key) },
	show:       showIncoming,
	showInList: showIncoming,
	prepare: func(r *request, was, in *schema.Incoming, _ []byte) error {
		r.shownOnce = readyIncoming(was, in, r.random)
		return nil
	},
	created: func(r *request, in *schema.Incoming) error { return r.created(newLink(in.ID, r.shownOnce)) },
}

// showIncoming shows a link; a token's hash is shown as the token is.
func showIncoming(r *request, in *schema.Incoming) (any, error) {
	return shown(r, nil, hideHashes(in))
}

// hideHashes returns a copy of a link that shows of its tokens' hashes what it shows of tokens.
func hideHashes(in *schema.Incoming) *schema.Incoming {
	c := *in
	if c.TokenHash != "" {
		c.Token, c.TokenHash = schema.NewSecret(hiddenSecret), ""
	}
	if c.TokenHash2 != "" {
		c.Token2, c.TokenHash2 = schema.NewSecret(hiddenSecret), ""
	}
	return &c
}

// hiddenSecret is what a secret shows, and how one that is to stay is sent back.
const hiddenSecret = "***"

// readyIncoming readies a link for being kept: with its tokens' hashes in place of them. One that is
// new and says no token, or no id, is given them; the token is returned, for the asker to be told
// once. One that replaces was keeps the tokens that it does not say. What is new is made of random.
func readyIncoming(was, in *schema.Incoming, random func(use string, n int) []byte) (token string) {
	silent := func(s schema.Secret) bool { return s.Reveal() == "" || s.Reveal() == hiddenSecret }
	if was != nil && silent(in.Token) && in.TokenHash == "" {
		in.Token, in.TokenHash = was.Token, was.TokenHash
	}
	if was != nil && silent(in.Token2) && in.TokenHash2 == "" {
		in.Token2, in.TokenHash2 = was.Token2, was.TokenHash2
	}
	if was == nil && silent(in.Token) && in.TokenHash == "" {
		token = linkToken(random("token", tokenBytes))
		in.Token = schema.NewSecret(token)
	}
	if in.ID == "" {
		in.ID = hex.EncodeToString(random("id", idBytes))
	}
	hashToken(&in.Token, &in.TokenHash)
	hashToken(&in.Token2, &in.TokenHash2)
	return token
}

// hashToken puts a token's hash in its place. What the check would refuse is left for it to see.
func hashToken(token *schema.Secret, hash *string) {
	text := token.Reveal()
	if len(text) >= 16 && len(text) <= 256 && *hash == "" && !strings.ContainsFunc(text, notInLink) {
		sum := sha256.Sum256([]byte(text))
		*token, *hash = schema.Secret{}, hex.EncodeToString(sum[:])
	}
}

// notInLink reports what a path cannot hold as it is (RFC 3986, 2.3).
func notInLink(c rune) bool {
	return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune("-._~", c)
}

// linkToken writes random bytes as a path can hold them.
func linkToken(random []byte) string { return base64.RawURLEncoding.EncodeToString(random) }

// link is the answer to a link's making, and to the rotation of its token: Token is shown this once.
type link struct {
	success
	ID    string `json:"id"`
	Token string `json:"token,omitempty"`
	Path  string `json:"path,omitempty"` // on the PBX's listener
}

func newLink(id, token string) link {
	l := link{success: success{true}, ID: id, Token: token}
	if token != "" {
		l.Path = "/in/" + token
	}
	return l
}

// rotate gives a link a second token, beside the first one until finishRotation. Done again, it
// replaces the second.
func rotate(r *request) error {
	token := linkToken(r.random("token", tokenBytes))
	err := changeLink(r, func(in *schema.Incoming) error {
		in.Token2, in.TokenHash2 = schema.NewSecret(token), ""
		hashToken(&in.Token2, &in.TokenHash2)
		return nil
	})
	if err != nil {
		return err
	}
	return r.answer(newLink(r.arg("id"), token))
}

// finishRotation ends a link's first token; the second is the only one from now on.
func finishRotation(r *request) error {
	err := changeLink(r, func(in *schema.Incoming) error {
		if in.Token2.Reveal() == "" && in.TokenHash2 == "" {
			return conflict("there is no second token: POST to …/rotate makes one")
		}
		in.Token, in.TokenHash = in.Token2, in.TokenHash2
		in.Token2, in.TokenHash2 = schema.Secret{}, ""
		return nil
	})
	if err != nil {
		return err
	}
	return r.done()
}

func changeLink(r *request, change func(*schema.Incoming) error) error {
	return r.change(func(p *schema.Project) error {
		i := incoming.find(p, r.arg("id"))
		if i < 0 {
			return incoming.none(r)
		}
		return change(&p.Incoming[i])
	})
}

// forceBreaker sets a hook's breaker, on this instance and until the hook's next change.
func forceBreaker(r *request) error {
	var wanted struct {
		State string `json:"state"`
	}
	if err := r.decode(&wanted); err != nil {
		return err
	}
	if !slices.Contains([]string{"open", "closed", "auto"}, wanted.State) {
		return invalid("state", "want open, closed or auto")
	}
	if r.router == nil {
		return unavailable("this process has no router")
	}
	if !r.router.ForceBreaker(r.project.ID, r.arg("id"), wanted.State) {
		return hooks.none(r)
	}
	return r.done()
}
