package admin

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"hookswitch/control"
	"hookswitch/schema"
	"hookswitch/store"
)

// A create that comes with an Idempotency-Key is done once: sent again with the same body within a
// day, it gets the first answer again (draft-ietf-httpapi-idempotency-key-header). Where nobody knows
// whether it was done, as the store did not say or the instance died, it is done again, and finds what
// it made: all that is chosen for it, an id or a token, is the same each time.
const (
	rememberFor = 24 * time.Hour
	// A create under way is over by then, whatever became of its instance.
	underWayFor       = time.Minute
	maxIdempotencyKey = 255
	// rememberTime is for noting how a create ended, which must not fail for the request's time being up.
	rememberTime = 2 * time.Second
)

// remembered is what is kept under a key. An answer may hold a token that is shown once, so it is kept
// sealed with the token and the key of the request: what lies in the store opens for nobody else.
type remembered struct {
	Request []byte    `json:"request"` // the body's SHA-256
	Salt    []byte    `json:"salt"`    // of all that is chosen for the create
	Begun   time.Time `json:"begun"`   // zero where it has ended, and nobody knows how
	Sealed  []byte    `json:"sealed"`  // a firstAnswer; none until it is known to be done
}

type firstAnswer struct {
	Status   int    `json:"status"`
	Location string `json:"location"`
	ETag     string `json:"etag"`
	Body     []byte `json:"body"`
}

// once is a handler of a create that is done once.
func once(create func(*request) error) func(*request) error {
	return func(r *request) error {
		key := r.header("Idempotency-Key")
		if key == "" {
			return create(r)
		}
		if len(key) > maxIdempotencyKey {
			return refusal{status: fasthttp.StatusBadRequest, message: fmt.Sprintf("want an Idempotency-Key of at most %d bytes", maxIdempotencyKey)}
		}
		if r.store == nil {
			return errNoStore
		}
		return r.createOnce(key, create)
	}
}

func (r *request) createOnce(key string, create func(*request) error) error {
	secrets := r.idempotency(key)
	body, err := r.body(maxProject)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	kept, first, err := r.begin(secrets.name, sum[:])
	switch {
	case err != nil:
		return err
	case first:
	case !hmac.Equal(kept.Request, sum[:]):
		return refusal{status: fasthttp.StatusUnprocessableEntity, message: "this Idempotency-Key came with another body before: want a new key for another request"}
	case len(kept.Sealed) > 0:
		return r.answerAgain(kept.Sealed, secrets.seal)
	case r.now().Sub(kept.Begun) < underWayFor:
		return refusal{status: fasthttp.StatusConflict, message: "the first request with this Idempotency-Key is still under way", retryAfter: 1}
	}
	r.once, r.again, r.seed = secrets.name, !first, secrets.derive("seed", kept.Salt)
	err = create(r)
	switch {
	case err == nil:
		r.remember(kept, secrets)
	case first && refusedForSure(err): // so that the key may be used for a better request
		r.note("an idempotency key stays taken", func(ctx context.Context) error { return r.store.Unset(ctx, secrets.name) })
	case first:
		kept.Begun = time.Time{}
		r.note("a create's end is not noted: it counts as under way for a minute", func(ctx context.Context) error {
			return r.setRemembered(ctx, secrets.name, kept)
		})
	}
	return err
}

// begin notes that a create begins, or returns what is known of it.
func (r *request) begin(name string, sum []byte) (kept remembered, first bool, err error) {
	kept = remembered{Request: sum, Salt: make([]byte, 16), Begun: r.now()}
	rand.Read(kept.Salt) // never fails
	begun, err := json.Marshal(kept)
	if err != nil {
		return kept, false, err
	}
	existing, first, err := r.store.SetIfAbsent(r.ctx, name, begun, rememberFor)
	if err != nil || first {
		return kept, first, err
	}
	kept = remembered{}
	if err := json.Unmarshal(existing, &kept); err != nil {
		return kept, false, fmt.Errorf("read what is kept for an idempotency key: %w", err)
	}
	return kept, false, nil
}

// refusedForSure reports an error after which nothing was made: anything but a store that did not say,
// and what it has and can't be used.
func refusedForSure(err error) bool {
	if errors.As(err, new(control.ErrNotApplied)) {
		return false
	}
	return errors.As(err, new(refusal)) || errors.As(err, new(schema.Faults)) || errors.As(err, new(control.ErrReadOnly)) ||
		errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrFull)
}

// random returns up to 32 bytes that nobody can guess, to make an id or a token of; use tells one
// request's from each other. A create that is done again gets the same ones.
func (r *request) random(use string, n int) []byte {
	if r.seed == nil {
		b := make([]byte, n)
		rand.Read(b) // never fails
		return b
	}
	h := hmac.New(sha256.New, r.seed)
	h.Write([]byte(use)) // a hash takes everything
	return h.Sum(nil)[:n]
}

// idempotent is what a request's key leads to, and nothing that is kept does.
type idempotent struct {
	name   string      // under which the answer is kept
	seal   cipher.AEAD // of the answer
	derive func(use string, salt []byte) []byte
}

// idempotency derives that from the key, whose it is, and what is asked.
func (r *request) idempotency(key string) idempotent {
	derive := func(use string, salt []byte) []byte {
		h := hmac.New(sha256.New, []byte(r.header("Authorization")))
		for _, part := range []string{use, r.header("Client"), string(r.http.RequestURI()), key, string(salt)} {
			fmt.Fprintf(h, "%d:%s", len(part), part)
		}
		return h.Sum(nil)
	}
	block, err := aes.NewCipher(derive("seal", nil))
	if err != nil {
		panic(err) // it takes 32 bytes, which they are
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES' blocks are what it takes
	}
	return idempotent{"idempotency:" + hex.EncodeToString(derive("name", nil)), seal, derive}
}

// remember keeps the answer. Where that fails, the create was done nevertheless, and is found done when
// it is sent again.
func (r *request) remember(kept remembered, secrets idempotent) {
	h := &r.http.Response.Header
	plain, err := json.Marshal(firstAnswer{
		Status: r.http.Response.StatusCode(), Location: string(h.Peek("Location")), ETag: string(h.Peek("ETag")), Body: r.http.Response.Body(),
	})
	r.note("an answer is not remembered for its idempotency key", func(ctx context.Context) error {
		if err != nil {
			return err
		}
		nonce := make([]byte, secrets.seal.NonceSize())
		rand.Read(nonce) // never fails
		kept.Sealed = secrets.seal.Seal(nonce, nonce, plain, nil)
		return r.setRemembered(ctx, secrets.name, kept)
	})
}

func (r *request) setRemembered(ctx context.Context, name string, kept remembered) error {
	b, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return r.store.Set(ctx, name, b, rememberFor)
}

// note writes down how a create ended; problem is what it means where that fails.
func (r *request) note(problem string, write func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), rememberTime)
	defer cancel()
	if err := write(ctx); err != nil {
		r.log.Warn(problem, zap.Error(err))
	}
}

// answerAgain answers as the first request with the key was.
func (r *request) answerAgain(sealed []byte, seal cipher.AEAD) error {
	if len(sealed) < seal.NonceSize() {
		return errors.New("what is kept for an idempotency key is too short")
	}
	plain, err := seal.Open(nil, sealed[:seal.NonceSize()], sealed[seal.NonceSize():], nil)
	if err != nil {
		return fmt.Errorf("open what is kept for an idempotency key: %w", err)
	}
	var first firstAnswer
	if err := json.Unmarshal(plain, &first); err != nil {
		return fmt.Errorf("read what is kept for an idempotency key: %w", err)
	}
	h := &r.http.Response.Header
	for name, value := range map[string]string{"Location": first.Location, "ETag": first.ETag, "Idempotency-Replayed": "true"} {
		if value != "" {
			h.Set(name, value)
		}
	}
	r.http.SetStatusCode(first.Status)
	r.http.SetContentType("application/json")
	h.Set("Cache-Control", "no-store")
	r.http.SetBody(first.Body)
	return nil
}

var errNoStore = unavailable("there is no store (store: none), so nothing can be changed or kept here; name one in the configuration file")
