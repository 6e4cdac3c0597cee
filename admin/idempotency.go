package admin

import (
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
)

// A create that comes with an Idempotency-Key is done once: sent again with the same body within a
// day, it gets the first answer again (draft-ietf-httpapi-idempotency-key-header).
const (
	rememberFor = 24 * time.Hour
	// A create under way is over by then, whatever became of its instance.
	underWayFor       = time.Minute
	maxIdempotencyKey = 255
)

// remembered is what is kept under a key. An answer may hold a token that is shown once, so it is kept
// sealed with the token and the key of the request: what lies in the store opens for nobody else.
type remembered struct {
	Request []byte `json:"request"` // the body's SHA-256
	Sealed  []byte `json:"sealed"`  // a firstAnswer; none while the create is under way
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
	name, seal, err := r.idempotency(key)
	if err != nil {
		return err
	}
	body, err := r.body(maxProject)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	begun, err := json.Marshal(remembered{Request: sum[:]})
	if err != nil {
		return err
	}
	existing, first, err := r.store.SetIfAbsent(r.ctx, name, begun, underWayFor)
	if err != nil {
		return err
	}
	if !first {
		return r.answerAgain(existing, sum[:], seal)
	}
	if err := create(r); err != nil {
		// Nothing was made, so that the key may be used for a better request.
		if forgetErr := r.store.Unset(r.ctx, name); forgetErr != nil {
			r.log.Warn("an idempotency key stays taken for a minute", zap.Error(forgetErr))
		}
		return err
	}
	r.remember(name, sum[:], seal)
	return nil
}

// idempotency returns under which name the answer to the request is kept, and what seals it.
func (r *request) idempotency(key string) (string, cipher.AEAD, error) {
	derive := func(use string) []byte {
		h := hmac.New(sha256.New, []byte(r.header("Authorization")))
		for _, part := range []string{use, r.header("Client"), string(r.http.RequestURI()), key} {
			fmt.Fprintf(h, "%d:%s", len(part), part)
		}
		return h.Sum(nil)
	}
	block, err := aes.NewCipher(derive("seal"))
	if err != nil {
		return "", nil, err
	}
	seal, err := cipher.NewGCM(block)
	return "idempotency:" + hex.EncodeToString(derive("name")), seal, err
}

// remember keeps the answer. Where that fails, the create was done nevertheless.
func (r *request) remember(name string, sum []byte, seal cipher.AEAD) {
	h := &r.http.Response.Header
	plain, err := json.Marshal(firstAnswer{
		Status: r.http.Response.StatusCode(), Location: string(h.Peek("Location")), ETag: string(h.Peek("ETag")), Body: r.http.Response.Body(),
	})
	if err == nil {
		nonce := make([]byte, seal.NonceSize())
		rand.Read(nonce) // never fails
		var b []byte
		if b, err = json.Marshal(remembered{Request: sum, Sealed: seal.Seal(nonce, nonce, plain, nil)}); err == nil {
			err = r.store.Set(r.ctx, name, b, rememberFor)
		}
	}
	if err != nil {
		r.log.Warn("an answer is not remembered for its idempotency key", zap.Error(err))
	}
}

// answerAgain answers as the first request with the key was.
func (r *request) answerAgain(existing, sum []byte, seal cipher.AEAD) error {
	var kept remembered
	if err := json.Unmarshal(existing, &kept); err != nil {
		return fmt.Errorf("read what is kept for an idempotency key: %w", err)
	}
	switch {
	case !hmac.Equal(kept.Request, sum):
		return refusal{status: fasthttp.StatusUnprocessableEntity, message: "this Idempotency-Key came with another body before: want a new key for another request"}
	case len(kept.Sealed) == 0:
		return refusal{status: fasthttp.StatusConflict, message: "the first request with this Idempotency-Key is still under way", retryAfter: 1}
	case len(kept.Sealed) < seal.NonceSize():
		return errors.New("what is kept for an idempotency key is too short")
	}
	nonce, sealed := kept.Sealed[:seal.NonceSize()], kept.Sealed[seal.NonceSize():]
	plain, err := seal.Open(nil, nonce, sealed, nil)
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
