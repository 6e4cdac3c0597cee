package hookclient

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"

	"hookswitch/schema"
)

// The headers of Standard Webhooks, https://www.standardwebhooks.com.
const (
	headerWebhookID        = "webhook-id"
	headerWebhookTimestamp = "webhook-timestamp"
	headerWebhookSignature = "webhook-signature"
)

// signer signs as Standard Webhooks has it: "v1," and base64 of HMAC-SHA256 over "id.timestamp.body".
// Only the body is covered: what travels in the URL or in headers is not. It is safe for concurrent
// use.
type signer struct{ keys []*signingKey }

// signingKey keeps keyed hashes for reuse, since keying one costs two blocks and an allocation.
type signingKey struct{ macs sync.Pool }

// newSigner takes the secret in use, and the one to come while a key is rotated. Without any it
// returns nil.
func newSigner(secret, next schema.Secret) (*signer, error) {
	s := &signer{}
	for _, one := range []schema.Secret{secret, next} {
		if one.Reveal() == "" {
			continue
		}
		key, err := signatureKey(one)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, &signingKey{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}})
	}
	if len(s.keys) == 0 {
		return nil, nil
	}
	return s, nil
}

// signatureKey is what "whsec_" and base64 hold, or the text itself.
func signatureKey(secret schema.Secret) ([]byte, error) {
	encoded, isEncoded := strings.CutPrefix(secret.Reveal(), "whsec_")
	if !isEncoded {
		return []byte(secret.Reveal()), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		// The cause would quote the secret.
		return nil, errors.New("what follows whsec_ is not base64; want the secret as it was handed out")
	}
	return key, nil
}

// appendSignatures appends one signature a key, separated by blanks.
func (s *signer) appendSignatures(b []byte, id string, at time.Time, body []byte) []byte {
	for i, key := range s.keys {
		if i > 0 {
			b = append(b, ' ')
		}
		b = key.appendSignature(b, id, at, body)
	}
	return b
}

func (k *signingKey) appendSignature(b []byte, id string, at time.Time, body []byte) []byte {
	mac := k.macs.Get().(hash.Hash)
	defer k.macs.Put(mac)
	mac.Reset()
	// What is signed is put together behind b, where it is overwritten afterwards.
	start := len(b)
	b = append(b, id...)
	b = append(b, '.')
	b = strconv.AppendInt(b, at.Unix(), 10)
	b = append(b, '.')
	mac.Write(b[start:])
	mac.Write(body)
	b = mac.Sum(b[:start])
	sum := [sha256.Size]byte(b[start:])
	b = append(b[:start], "v1,"...)
	return base64.StdEncoding.AppendEncode(b, sum[:])
}

// appendMessageID appends an id that names one request to one hook, the same when it is built again:
// the call's id, as far as it is letters, digits, "_" and "-" (a "." would blur what is signed), and
// the request's own.
func appendMessageID(b []byte, call string, id uint64) []byte {
	const longest = 64
	b = append(b, "msg_"...)
	for i := 0; i < len(call) && i < longest; i++ {
		if c := call[i]; c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' {
			b = append(b, c)
		} else {
			b = append(b, '-')
		}
	}
	b = append(b, '-')
	return strconv.AppendUint(b, id, 10)
}
