package notify

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"hookswitch/schema"
	"hookswitch/store"
)

// An event's name is good for a day: a PBX that sends an event again does so within minutes, and a
// client with an Idempotency-Key within a day, as is the custom.
const nameKept = 24 * time.Hour

// pending is a delivery as the outbox has it. All of one event begin the same; the log has the rest.
type pending struct {
	Created time.Time `json:"created"`
	Attempt int       `json:"attempt"` // requests made so far
	// First is when the first of them began; a replay begins anew.
	First time.Time       `json:"first,omitzero"`
	Event json.RawMessage `json:"event"`
}

func readPending(body []byte) (p pending, e schema.Event, err error) {
	if err = json.Unmarshal(body, &p); err == nil {
		err = json.Unmarshal(p.Event, &e)
	}
	return p, e, err
}

// newEventID returns a ULID: ids are in the order of their time, as the log is then, too.
func newEventID(now time.Time) string { return ulid.MustNewDefault(now).String() }

// deliveryID names a delivery for good, to its receiver too.
func deliveryID(event string, webhook int64) string {
	return event + "-" + strconv.FormatInt(webhook, 10)
}

// queueOf is the queue and the log of a webhook. Ids of webhooks are a project's own.
func queueOf(project string, webhook int64) string {
	return project + "/" + strconv.FormatInt(webhook, 10)
}

// splitQueue is queueOf's inverse, 0 for what is none.
func splitQueue(queue string) (project string, webhook int64) {
	i := strings.LastIndexByte(queue, '/')
	if i < 0 {
		return queue, 0
	}
	webhook, _ = strconv.ParseInt(queue[i+1:], 10, 64)
	return queue[:i], webhook
}

func itemsOf(e *schema.Event, wanted []*subscription, now time.Time) []store.Item {
	body := mustJSON(pending{Created: now, Event: mustJSON(e)})
	items := make([]store.Item, len(wanted))
	for i, s := range wanted {
		items[i] = store.Item{ID: deliveryID(e.ID, s.webhook.ID), Queue: s.queue, Due: now, Body: body}
		if s.webhook.Ordered && e.CallID != "" {
			items[i].Group = digest(e.CallID) // a call's id may be longer than a name
		}
	}
	return items
}

// mustJSON is for our own types, which always have a JSON form.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// onceOf returns the name by which a repeated event is known, false where it has none. Its value is the
// event's id and fingerprint.
func onceOf(e *schema.Event, key string) (store.Once, bool) {
	once := store.Once{Keep: nameKept}
	switch {
	case key != "":
		once.Name = digest("key", e.Project, key)
	case e.CallID != "":
		once.Name = digest("call", e.Project, e.CallID, e.Kind)
	default:
		return once, false
	}
	once.Value = append([]byte(e.ID), fingerprint(e)...)
	return once, true
}

// repeated gives an event the id of the first of its name. A key is the client's word that the event is
// the same one, so it is held against what came with it before.
func repeated(e *schema.Event, first, mine []byte, keyed bool) schema.Acceptance {
	if len(first) < ulid.EncodedSize {
		return schema.EventRepeated // nothing that we wrote
	}
	id, print := first[:ulid.EncodedSize], first[ulid.EncodedSize:]
	if keyed && !bytes.Equal(print, mine[ulid.EncodedSize:]) {
		return schema.EventKeyReused
	}
	e.ID = string(id)
	return schema.EventRepeated
}

// fingerprint tells events apart, whenever they came.
func fingerprint(e *schema.Event) []byte {
	sum := sha256.New()
	write(sum, e.Project, e.Kind, e.Direction, e.CallID)
	for _, v := range e.Values {
		write(sum, v.Name, v.Value)
	}
	return sum.Sum(nil)[:8]
}

// digest is a name of 22 characters for any texts.
func digest(texts ...string) string {
	sum := sha256.New()
	write(sum, texts...)
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:16])
}

// write writes texts so that none runs into the next.
func write(w io.Writer, texts ...string) {
	for _, t := range texts {
		w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(t)))) // a hash takes everything
		io.WriteString(w, t)
	}
}
