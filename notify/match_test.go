package notify

import (
	"fmt"
	"strings"
	"testing"

	"hookswitch/schema"
)

// conditions are written "param op value".
func conditions(texts ...string) (list []schema.Condition) {
	for _, text := range texts {
		param, rest, _ := strings.Cut(text, " ")
		op, value, _ := strings.Cut(rest, " ")
		list = append(list, schema.Condition{Param: param, Op: op, Value: value})
	}
	return list
}

func TestAnEventIsWantedByTheWebhooksWhoseConditionsItMeets(t *testing.T) {
	e := &schema.Event{
		Project: "p", Kind: "destroy", Direction: "inbound", CallID: "call-1",
		Values: []schema.Custom{
			{Name: "caller", Value: "380501112233"}, {Name: "talktime", Value: "42"}, {Name: "city", Value: "Київ"},
			{Name: "payment", Value: `{"sum":"19.5","items":[{"name":"tea"}]}`}, {Name: "note", Value: ""},
		},
	}
	any := func(list ...schema.Condition) schema.Condition { return schema.Condition{Any: list} }
	all := func(list ...schema.Condition) schema.Condition { return schema.Condition{All: list} }
	for _, tc := range []struct {
		name string
		w    schema.Webhook
		want bool
	}{
		{"of any direction", schema.Webhook{TypeCall: "all"}, true},
		{"of its direction", schema.Webhook{TypeCall: "inbound"}, true},
		{"of the other direction", schema.Webhook{TypeCall: "outbound"}, false},
		{"of another kind", schema.Webhook{Event: "answer"}, false},
		{"disabled by hand", schema.Webhook{Disabled: true}, false},
		{"eq", schema.Webhook{When: conditions("caller eq 380501112233")}, true},
		{"eq of another", schema.Webhook{When: conditions("caller eq 380501112234")}, false},
		{"ne", schema.Webhook{When: conditions("caller ne 380501112234")}, true},
		{"contains", schema.Webhook{When: conditions("city contains иї")}, true},
		{"prefix", schema.Webhook{When: conditions("caller prefix 38050")}, true},
		{"suffix", schema.Webhook{When: conditions("caller suffix 38050")}, false},
		{"matches", schema.Webhook{When: conditions("caller matches ^380(50|66)")}, true},
		{"in", schema.Webhook{When: conditions("city in Львів, Київ")}, true},
		{"not in", schema.Webhook{When: conditions("city in Львів,Одеса")}, false},
		{"numbers are compared as numbers", schema.Webhook{When: conditions("talktime gt 5", "talktime lt 1e2", "talktime ge 42", "talktime le 42.0")}, true},
		{"a number too low", schema.Webhook{When: conditions("talktime gt 42")}, false},
		{"no number is neither more nor less", schema.Webhook{When: conditions("city lt 5")}, false},
		{"empty, said or not", schema.Webhook{When: conditions("note empty", "campaign empty")}, true},
		{"filled", schema.Webhook{When: conditions("note filled")}, false},
		{"inside of JSON", schema.Webhook{When: conditions("payment.sum gt 19", "payment.items[0].name eq tea")}, true},
		{"what the event is", schema.Webhook{When: conditions("event eq destroy", "direction eq inbound", "callid eq call-1", "project_id eq p")}, true},
		{"all are true", schema.Webhook{When: conditions("city filled", "talktime gt 100")}, false},
		{"any is true", schema.Webhook{When: []schema.Condition{any(conditions("city empty", "talktime gt 10")...)}}, true},
		{"none of any is true", schema.Webhook{When: []schema.Condition{any(conditions("city empty", "talktime gt 100")...)}}, false},
		{"and within or", schema.Webhook{When: []schema.Condition{any(conditions("city empty")[0], all(conditions("city filled", "talktime gt 10")...))}}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := webhook(1, "http://127.0.0.1/", func(w *schema.Webhook) { w.Event = "destroy" })
			w.When, w.Disabled = tc.w.When, tc.w.Disabled
			if tc.w.TypeCall != "" {
				w.TypeCall = tc.w.TypeCall
			}
			if tc.w.Event != "" {
				w.Event = tc.w.Event
			}
			n := New(Options{Sender: &wire{}})
			must(t, n.Load(config(schema.Events{}, w)))
			for range 2 { // the second time with a used call
				if got := len(n.table.Load().projects["p"].wanted(e)) == 1; got != tc.want {
					t.Errorf("got %v; want %v", got, tc.want)
				}
			}
		})
	}
}

func TestAConditionThatMeansNothingIsRefusedByName(t *testing.T) {
	for _, tc := range []struct {
		when []schema.Condition
		want string
	}{
		{conditions("caller matches ("), "project p: webhook 1: when: caller: "},
		{conditions("talktime gt lots"), `talktime: op gt: found "lots"; want a number`},
		{conditions("caller like 5"), `found op "like"; want eq, ne`},
		{[]schema.Condition{{Any: conditions("caller like")}}, "want eq, ne"},
		{[]schema.Condition{{All: conditions("caller matches [")}}, "caller: "},
	} {
		n := New(Options{Sender: &wire{}})
		err := n.Load(config(schema.Events{}, webhook(1, "http://127.0.0.1/", func(w *schema.Webhook) { w.When = tc.when })))
		if err == nil || !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%+v: got %v; want %s", tc.when, err, tc.want)
		}
	}
}
