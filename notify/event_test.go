package notify

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"hookswitch/schema"
)

func FuzzADeliveryIsReadAsItWasWritten(f *testing.F) {
	for _, text := range []string{"", "380501112233", "Київ", "a\"b\\c\n\t\x00</script>&\u2028", `{"payment":{"name":"x"}}`, "\xff\xfe"} {
		f.Add(text, "value of "+text, int64(1795392875), 3)
	}
	f.Fuzz(func(t *testing.T, name, value string, seconds int64, attempt int) {
		at := time.Unix(seconds%(1<<33), 123456789).UTC()
		e := schema.Event{
			ID: "01M82W2AQ6NT6M2AZ4MW36RS31", Project: "p", Kind: "create", Direction: "inbound", CallID: name, At: at,
			Values: []schema.Custom{{Name: name, Value: value}, {Name: "x", Value: name}},
		}
		text, err := json.Marshal(e)
		if err != nil {
			return // a time that JSON has no form for
		}
		p := pending{Created: at, Attempt: attempt, Event: text}
		if attempt > 0 {
			p.First = at.Add(time.Second)
		}
		got, event, err := readPending(p.encode())
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Fatalf("got %+v, %v; want %+v", got, err, p)
		}
		var want schema.Event // with what is no UTF-8 replaced
		if err := json.Unmarshal(text, &want); err != nil || !reflect.DeepEqual(event, want) {
			t.Fatalf("got the event %+v; want %+v", event, want)
		}
	})
}

func TestWhatIsNoDeliveryIsNotReadAsOne(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"created":"2026-11-18T12:00:00Z","attempt":1}`, `{"created":"yesterday","event":{}}`,
		`{"created":"2026-11-18T12:00:00Z","event":{"At":"x"}}`} {
		if p, _, err := readPending([]byte(text)); err == nil {
			t.Errorf("%s: got %+v", text, p)
		}
	}
}
