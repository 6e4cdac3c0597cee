package notify

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/tidwall/gjson"

	"hookswitch/schema"
	"hookswitch/store"
)

// An event's name is good for a day: a PBX that sends an event again does so within minutes, and a
// client with an Idempotency-Key within a day, as is the custom.
const nameKept = 24 * time.Hour

// pending is a delivery as the outbox has it, in JSON; the log has the rest.
type pending struct {
	Created time.Time
	Attempt int // requests made so far
	// First is when the first of them began; a replay begins anew.
	First time.Time
	Event json.RawMessage
}

// encode is written, and readPending read, without encoding/json: it is done for every request, and
// the garbage of it would be collected beside calls that are being decided.
func (p *pending) encode() []byte {
	b := make([]byte, 0, len(p.Event)+128)
	b = p.Created.AppendFormat(append(b, `{"created":"`...), time.RFC3339Nano)
	b = strconv.AppendInt(append(b, `","attempt":`...), int64(p.Attempt), 10)
	if !p.First.IsZero() {
		b = append(p.First.AppendFormat(append(b, `,"first":"`...), time.RFC3339Nano), '"')
	}
	return append(append(append(b, `,"event":`...), p.Event...), '}')
}

// readPending reads a delivery and its event.
func readPending(body []byte) (p pending, e schema.Event, err error) {
	if !gjson.ValidBytes(body) { // gjson answers from broken JSON too, and wrongly
		return p, e, errors.New("it is no JSON")
	}
	var times [2]error
	gjson.Parse(string(body)).ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "created":
			p.Created, times[0] = time.Parse(time.RFC3339Nano, value.Str)
		case "attempt":
			p.Attempt = int(value.Int())
		case "first":
			p.First, times[1] = time.Parse(time.RFC3339Nano, value.Str)
		case "event":
			p.Event = json.RawMessage(value.Raw)
			e, err = readEvent(value)
		}
		return true
	})
	if p.Event == nil {
		err = errors.New("it has no event")
	}
	return p, e, errors.Join(err, times[0], times[1])
}

// readEvent reads what encoding/json makes of an event.
func readEvent(text gjson.Result) (e schema.Event, err error) {
	text.ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "ID":
			e.ID = value.Str
		case "Project":
			e.Project = value.Str
		case "Kind":
			e.Kind = value.Str
		case "Direction":
			e.Direction = value.Str
		case "CallID":
			e.CallID = value.Str
		case "At":
			e.At, err = time.Parse(time.RFC3339Nano, value.Str)
		case "Values":
			e.Values = readValues(value)
		}
		return true
	})
	return e, err
}

func readValues(list gjson.Result) []schema.Custom {
	values := make([]schema.Custom, 0, 16)
	list.ForEach(func(_, item gjson.Result) bool {
		var v schema.Custom
		item.ForEach(func(key, value gjson.Result) bool {
			if key.Str == "Name" {
				v.Name = value.Str
			} else {
				v.Value = value.Str
			}
			return true
		})
		values = append(values, v)
		return true
	})
	return values
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
	p := pending{Created: now, Event: mustJSON(e)}
	body := p.encode()
	items := make([]store.Item, len(wanted))
	for i, s := range wanted {
		items[i] = store.Item{ID: deliveryID(e.ID, s.webhook.ID), Queue: s.queue, Due: now, Body: body}
		if s.order != "" && e.CallID != "" {
			items[i].Group = digest(s.order, e.CallID) // which may be longer than a name
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
	text := delimited(make([]byte, 0, 1<<10), e.Project, e.Kind, e.Direction, e.CallID)
	for _, v := range e.Values {
		text = delimited(text, v.Name, v.Value)
	}
	sum := sha256.Sum256(text)
	return sum[:8]
}

// digest is a name of 22 characters for any texts.
func digest(texts ...string) string {
	sum := sha256.Sum256(delimited(make([]byte, 0, 256), texts...))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// delimited appends texts to b so that none runs into the next.
func delimited(b []byte, texts ...string) []byte {
	for _, t := range texts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(t))), t...)
	}
	return b
}
