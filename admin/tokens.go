package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

// tokens knows who may come in: those that the file declares, and those made by the API, which the
// store keeps. Both are compared from memory, so that a store that is down keeps nobody out.
//
// A token made by the API is 256 random bits, so that a plain SHA-256 of it, which is all that is
// kept, tells nobody what it was.
type tokens struct {
	store store.Store // nil for none
	log   *zap.Logger

	file, made atomic.Pointer[[]knownToken]
	loading    sync.Mutex // one load at a time, so that an older list never replaces a newer one
	since      uint64     // the change up to which made is known; guarded by loading
	following  sync.WaitGroup
	writing    sync.WaitGroup // uses

	mu   sync.Mutex           // guards used
	used map[string]time.Time // when each made token's use was last written down, by id
}

type knownToken struct {
	hash    [sha256.Size]byte
	expires time.Time // zero for never
	who     identity
}

func newTokens(s store.Store, log *zap.Logger) *tokens {
	t := &tokens{store: s, log: log, used: map[string]time.Time{}}
	t.made.Store(&[]knownToken{})
	return t
}

// apply takes over the file's tokens.
func (t *tokens) apply(file []schema.Token) {
	list := make([]knownToken, len(file))
	for i, f := range file {
		list[i] = knownToken{
			hash: sha256.Sum256([]byte(f.Token.Reveal())),
			who:  identity{name: f.Name, scopes: f.Scopes, project: f.Project},
		}
		if f.Project == "" && list[i].who.may(scopeWrite) {
			list[i].who.scopes = append([]string{scopeAdmin}, f.Scopes...)
		}
	}
	t.file.Store(&list)
}

// find returns whose token text is; nil for nobody's, or one that is over. It takes as long for a
// token that is nearly right as for any other.
func (t *tokens) find(text string, now time.Time) *identity {
	hash := sha256.Sum256([]byte(text))
	var found *knownToken
	for _, list := range []*[]knownToken{t.file.Load(), t.made.Load()} {
		for i := range *list {
			if subtle.ConstantTimeCompare((*list)[i].hash[:], hash[:]) == 1 {
				found = &(*list)[i]
			}
		}
	}
	if found == nil || !found.expires.IsZero() && !now.Before(found.expires) {
		return nil
	}
	if found.who.id != "" {
		t.noteUse(found.who.id, now)
	}
	return &found.who
}

// follow reads the made tokens whenever a document in the store changes, until ctx ends. What cannot
// be read now is read a second later; until then the tokens known go on being good.
func (t *tokens) follow(ctx context.Context) {
	if t.store == nil {
		return
	}
	t.following.Add(1)
	go func() {
		defer t.following.Done()
		for range t.store.Watch(ctx) {
			for t.load(ctx) != nil && ctx.Err() == nil {
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		}
	}()
}

// wait returns when all that find and follow began is over.
func (t *tokens) wait() {
	t.following.Wait()
	t.writing.Wait()
}

// load reads the made tokens from the store, where they have changed.
func (t *tokens) load(ctx context.Context) error {
	t.loading.Lock()
	defer t.loading.Unlock()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	changed, err := t.store.Changed(ctx, tokenKind, t.since, 1)
	if err == nil && len(changed) == 0 {
		return nil
	}
	var since uint64
	if err == nil || errors.Is(err, store.ErrTooOld) {
		since, err = t.store.Change(ctx)
	}
	var docs []Token
	if err == nil {
		docs, err = listTokens(ctx, t.store)
	}
	if err != nil {
		if ctx.Err() == nil {
			t.log.Warn("the tokens cannot be read; those known stay good", zap.Error(err))
		}
		return err
	}
	t.keep(docs)
	t.since = since
	return nil
}

// keep makes the tokens that were read the ones known.
func (t *tokens) keep(docs []Token) {
	list := make([]knownToken, 0, len(docs))
	for _, d := range docs {
		hash, err := hex.DecodeString(d.Hash)
		if err != nil || len(hash) != sha256.Size {
			t.log.Error("a token in the store cannot be read and opens nothing; revoke it", zap.String("token", d.ID))
			continue
		}
		k := knownToken{hash: [sha256.Size]byte(hash), who: identity{name: d.Name, scopes: d.Scopes, project: d.Project, id: d.ID}}
		if d.Expires != nil {
			k.expires = *d.Expires
		}
		list = append(list, k)
	}
	t.made.Store(&list)
}

// noteUse writes down, behind the request and a minute apart at least, that a token was used.
func (t *tokens) noteUse(id string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.used[id]) < usedEvery {
		return
	}
	t.used[id] = now
	if len(t.used) > maxTokens { // those revoked
		clear(t.used)
	}
	t.writing.Add(1)
	go func() {
		defer t.writing.Done()
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		if err := t.store.Set(ctx, usedKey(id), []byte(now.UTC().Format(time.RFC3339)), usedFor); err != nil {
			t.log.Debug("a token's use was not written down", zap.Error(err))
		}
	}()
}

// A token's use is no document: writing it down must not wake those who watch for changes.
func usedKey(id string) string { return "token:used:" + id }

const (
	usedEvery = time.Minute
	usedFor   = 400 * 24 * time.Hour
	maxTokens = 1000
)
