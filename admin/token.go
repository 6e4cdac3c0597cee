package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hookswitch/control"
	"hookswitch/schema"
	"hookswitch/store"
)

// tokenKind is the documents' kind.
const tokenKind = "token"

// Token is a token made by the API, as it is kept and, without its hash, shown.
type Token struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Hash      string     `json:"sha256,omitempty"`
	Scopes    []string   `json:"scopes"`
	Project   string     `json:"project"`
	Created   time.Time  `json:"created"`
	CreatedBy string     `json:"created_by"`
	Expires   *time.Time `json:"expires"`
	LastUsed  *time.Time `json:"last_used"`

	version uint64 // of its document
}

// NewToken is what a token is to be. Scopes are read, write and admin; admin is of no use with a
// project. Expires nil is never.
type NewToken struct {
	Name    string     `json:"name"`
	Scopes  []string   `json:"scopes"`
	Project string     `json:"project"`
	Expires *time.Time `json:"expires"`
}

// CreateToken makes a token, by the hand of who, and returns what is kept of it and the token itself,
// which nobody can be told a second time. Errors are the store's, or schema.Faults.
func CreateToken(ctx context.Context, s store.Store, who string, n NewToken, now time.Time) (Token, string, error) {
	return makeToken(ctx, s, who, n, now, func(_ string, n int) []byte {
		b := make([]byte, n)
		rand.Read(b) // never fails
		return b
	})
}

// makeToken is CreateToken with the source of what is random. One that gives what it gave before leads
// to the token made before.
func makeToken(ctx context.Context, s store.Store, who string, n NewToken, now time.Time, random func(use string, n int) []byte) (Token, string, error) {
	if faults := n.check(now); len(faults) > 0 {
		return Token{}, "", faults
	}
	all, err := listTokens(ctx, s)
	if err != nil {
		return Token{}, "", err
	}
	if len(all) >= maxTokens {
		return Token{}, "", schema.Faults{{Key: "name", Found: fmt.Sprintf("%d tokens", len(all)), Want: "fewer: revoke some"}}
	}
	text := "hsw_" + base64.RawURLEncoding.EncodeToString(random("token", tokenBytes))
	sum := sha256.Sum256([]byte(text))
	t := Token{
		ID: hex.EncodeToString(random("id", idBytes)), Name: n.Name, Hash: hex.EncodeToString(sum[:]), Scopes: n.Scopes, Project: n.Project,
		Created: now.UTC().Truncate(time.Second), CreatedBy: who, Expires: n.Expires,
	}
	body, err := json.Marshal(t)
	if err != nil {
		return Token{}, "", err
	}
	t.version, err = s.PutDoc(ctx, tokenKind, t.ID, body, 0)
	if errors.Is(err, store.ErrConflict) {
		t, err = madeBefore(t, all)
	}
	if err != nil {
		return Token{}, "", err
	}
	t.Hash = ""
	return t, text, nil
}

// madeBefore returns, of all, the very token.
func madeBefore(t Token, all []Token) (Token, error) {
	for i := range all {
		if all[i].ID == t.ID && all[i].Hash == t.Hash {
			return all[i], nil
		}
	}
	return Token{}, fmt.Errorf("token %s: %w", t.ID, store.ErrConflict)
}

const (
	tokenBytes = 32 // random ones of a token,
	idBytes    = 8  // and of an id
)

// check says what is wrong with it.
func (n *NewToken) check(now time.Time) (faults schema.Faults) {
	refuse := func(key, found, want string) {
		faults = append(faults, schema.Fault{Key: key, Found: found, Want: want})
	}
	if n.Name == "" || len(n.Name) > 64 {
		refuse("name", fmt.Sprintf("%d bytes", len(n.Name)), "a name of 1 to 64 bytes, to know the token by")
	}
	if len(n.Scopes) == 0 {
		refuse("scopes", "none", "read, write or admin")
	}
	for i, scope := range n.Scopes {
		if scope != scopeRead && scope != scopeWrite && scope != scopeAdmin {
			refuse(fmt.Sprintf("scopes[%d]", i), fmt.Sprintf("%.20q", scope), "read, write or admin")
		} else if scope == scopeAdmin && n.Project != "" {
			refuse(fmt.Sprintf("scopes[%d]", i), "admin for one project", "admin without a project, or read and write with one")
		}
	}
	if n.Expires != nil && !n.Expires.After(now) {
		refuse("expires", n.Expires.Format(time.RFC3339), "a time to come, or null")
	}
	return faults
}

// RevokeToken ends a token, and returns which; store.ErrNotFound where there is none of that id.
func RevokeToken(ctx context.Context, s store.Store, id string) (Token, error) {
	for {
		doc, err := s.GetDoc(ctx, tokenKind, id)
		if err != nil {
			return Token{}, err
		}
		if err := s.DeleteDoc(ctx, tokenKind, id, doc.Version); !errors.Is(err, store.ErrConflict) {
			return readToken(doc), err
		}
	}
}

// Change is what the audit trail says of the token's being made (create) or revoked (delete) now.
func (t *Token) Change(action, who string) control.Change {
	return control.Change{At: time.Now().UTC(), Who: who, Action: action, Project: t.Project, Token: t.ID + " " + t.Name}
}

// readToken reads what is kept of a token; of what can't be read, that it can't.
func readToken(d store.Doc) Token {
	var t Token
	if err := json.Unmarshal(d.Body, &t); err != nil {
		t = Token{Name: "(cannot be read)"}
	}
	t.ID, t.version = d.ID, d.Version
	return t
}

// ListTokens returns the tokens made by the API, in the order of their ids.
func ListTokens(ctx context.Context, s store.Store) ([]Token, error) {
	list, err := listTokens(ctx, s)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Hash = ""
		if err := list[i].readUse(ctx, s); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// readUse fills in when the token was last used.
func (t *Token) readUse(ctx context.Context, s store.Store) error {
	b, err := s.Get(ctx, usedKey(t.ID))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	if at, err := time.Parse(time.RFC3339, string(b)); err == nil {
		t.LastUsed = &at
	}
	return nil
}

// listTokens returns them with their hashes, and without their last use.
func listTokens(ctx context.Context, s store.Store) ([]Token, error) {
	var list []Token
	for after := ""; ; {
		docs, err := s.ListDocs(ctx, tokenKind, "", after, listAtOnce)
		if err != nil {
			return nil, err
		}
		for _, d := range docs {
			list = append(list, readToken(d))
		}
		if len(docs) < listAtOnce {
			return list, nil
		}
		after = docs[len(docs)-1].ID
	}
}

const listAtOnce = 100
