package router

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"hookswitch/schema"
)

// A cursor says where the walk of a call goes on when nobody answered. The PBX keeps it, so that any
// instance which shares the key can go on. It is base64url (RFC 4648, section 5, unpadded), of
//
//	1 byte  version
//	4 bytes expiry, Unix seconds
//	1 byte  how many times the call will have been continued
//	1 byte  index of the step to go on with
//	1 byte  length of the project's id, then the id; the rest before the signature is the scheme's id
//	16 bytes of HMAC-SHA256 over all that, and the call's id and callee, which it does not carry
//
// It holds no secret, and nothing in it is believed before the signature is.
type cursor struct {
	project, scheme string
	step            int
	continued       int
}

const (
	cursorVersion = 1
	cursorHead    = 8
	cursorMAC     = 16
	maxCursor     = 300 // characters; what a PBX was seen to carry intact
)

var errBadCursor = errors.New("the cursor is forged, expired, or of another call")

// newCursors returns the makers of cursors that cfg asks for; own is the key of a process without a
// configured one.
func newCursors(cfg *schema.Continuation, own []byte) cursors {
	key := own
	if text := cfg.Key.Reveal(); text != "" {
		sum := sha256.Sum256([]byte("hookswitch cursor " + text))
		key = sum[:]
	}
	return cursors{key: key, expires: cfg.Expires, most: cfg.Max}
}

// cursors makes and reads them.
type cursors struct {
	key     []byte
	expires time.Duration
	most    int // continuations of one call
}

// text returns the cursor for call, or "" where the ids are too long for one.
func (k *cursors) text(c cursor, call *schema.Call, now time.Time) string {
	b := make([]byte, 0, 256)
	b = append(b, cursorVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(now.Add(k.expires).Unix()))
	b = append(b, byte(c.continued), byte(c.step), byte(len(c.project)))
	b = append(b, c.project...)
	b = append(b, c.scheme...)
	b = append(b, k.sign(b, call)...)
	if c.step > 255 || len(c.project) > 255 || base64.RawURLEncoding.EncodedLen(len(b)) > maxCursor {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// parse reads a cursor that comes with call. Its one error says nothing of which check failed.
func (k *cursors) parse(text string, call *schema.Call, now time.Time) (cursor, error) {
	if len(text) > maxCursor {
		return cursor{}, errBadCursor
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < cursorHead+cursorMAC {
		return cursor{}, errBadCursor
	}
	body, mac := b[:len(b)-cursorMAC], b[len(b)-cursorMAC:]
	if !hmac.Equal(mac, k.sign(body, call)) || body[0] != cursorVersion {
		return cursor{}, errBadCursor
	}
	expiry, project := binary.BigEndian.Uint32(body[1:5]), int(body[7])
	if now.Unix() > int64(expiry) || cursorHead+project > len(body) {
		return cursor{}, errBadCursor
	}
	return cursor{
		continued: int(body[5]), step: int(body[6]),
		project: string(body[cursorHead : cursorHead+project]), scheme: string(body[cursorHead+project:]),
	}, nil
}

// sign binds body to the call: to its id where the PBX gives one, and to the numbers.
func (k *cursors) sign(body []byte, call *schema.Call) []byte {
	mac := hmac.New(sha256.New, k.key)
	var size [4]byte
	for _, part := range []string{string(body), call.ID(), call.Callee()} {
		binary.BigEndian.PutUint32(size[:], uint32(len(part)))
		mac.Write(size[:])
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)[:cursorMAC]
}

// pause ends the walk before step i of s, a hook that is to be asked only when the steps so far
// have rung in vain: the decision carries a cursor to that place.
func (w *walk) pause(s *scheme, i int, source schema.Source) bool {
	w.settle(s, source)
	if w.d.Reason == schema.ReasonBadCursor {
		return true // else a PBX that asks on and on would never come to an end
	}
	next := cursor{project: s.project.conf.ID, scheme: s.conf.ID, step: i, continued: w.continued + 1}
	w.d.Next = w.t.cursors.text(next, w.call, time.Now())
	return true
}

// resume goes on where the cursor says. False means that the cursor is no good; the reason is told.
func (w *walk) resume() bool {
	c, err := w.t.cursors.parse(w.call.Cursor, w.call, time.Now())
	if err != nil {
		w.fail(schema.ReasonBadCursor, err.Error())
		return false
	}
	if c.continued > w.t.cursors.most {
		w.fail(schema.ReasonBadCursor, "the call has been continued too often")
		return false
	}
	p := w.t.projects[c.project]
	if p == nil || p.schemes[c.scheme] == nil || c.step >= len(p.schemes[c.scheme].steps) {
		w.fail(schema.ReasonBadCursor, "the cursor's place is no longer in the configuration")
		return false
	}
	w.project, w.continued = p, c.continued
	w.d.Source, w.d.Reason, w.d.Detail = schema.SourceSchema, schema.ReasonOK, ""
	w.describe()
	w.enter(p.schemes[c.scheme])
	return w.followFrom(p.schemes[c.scheme], c.step, schema.SourceSchema)
}
