package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

// known returns a caller's variables.
func known(t testing.TB, h *History, caller string) string {
	t.Helper()
	r := schema.Recall{Project: "1001", Caller: caller, WantVariables: true}
	h.Recall(&r, time.Now().Add(time.Minute))
	if r.VariablesResult != schema.RecallOK {
		t.Fatalf("recall: %s", r.VariablesResult)
	}
	return string(r.Variables)
}

func TestVariablesAreKeptEachForItsTime(t *testing.T) {
	onEach(t, func(t *testing.T, s store.Store) {
		now := time.Now()
		h := open(t, s, func(o *Options) { o.Now = func() time.Time { return now } })
		if got := known(t, h, anna); got != "" {
			t.Errorf("of a stranger %s is known", got)
		}
		must(t, h.Remember(t.Context(), "1001", anna, []byte(`{"payment":{"name":"Вася","n":1.50},"city":"<Kyiv>"}`), time.Hour))
		must(t, h.Remember(t.Context(), "1001", "+"+anna, []byte(`{"city":"Lviv","manager":380441111111}`), time.Minute))
		if got, want := known(t, h, anna), `{"city":"Lviv","manager":380441111111,"payment":{"name":"Вася","n":1.50}}`; got != want {
			t.Errorf("\ngot  %s\nwant %s", got, want)
		}
		if got := known(t, h, "380509999999"); got != "" {
			t.Errorf("of another caller %s is known", got)
		}
		now = now.Add(2 * time.Minute)
		if got, want := known(t, h, anna), `{"payment":{"name":"Вася","n":1.50}}`; got != want {
			t.Errorf("after a minute: got %s; want %s", got, want)
		}
		must(t, h.Remember(t.Context(), "1001", anna, []byte(`{"a":"<&>"}`), time.Second))
		if got, want := known(t, h, anna), `{"a":"<&>","payment":{"name":"Вася","n":1.50}}`; got != want {
			t.Errorf("got %s; want %s", got, want)
		}
		now = now.Add(time.Hour)
		if got := known(t, h, anna); got != "" {
			t.Errorf("after an hour %s is known", got)
		}
	})
}

func TestThoseWhoRememberTogetherLoseNothing(t *testing.T) {
	onEach(t, func(t *testing.T, s store.Store) {
		instances := []*History{open(t, s), open(t, s)}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				values := fmt.Appendf(nil, `{"n%d":%d}`, i, i)
				if err := instances[i%2].Remember(t.Context(), "1001", anna, values, time.Hour); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var got map[string]int
		must(t, json.Unmarshal([]byte(known(t, instances[0], anna)), &got))
		if len(got) != 20 {
			t.Errorf("%d of 20 are left: %v", len(got), got)
		}
	})
}

func TestWhatCannotBeRememberedIsNamed(t *testing.T) {
	s := openBolt(t)
	h := open(t, s)
	must(t, h.Remember(t.Context(), "1001", anna, []byte(`{"a":1}`), time.Hour))
	big := []byte(`{"big":"` + strings.Repeat("x", maxVariables) + `"}`)
	wantErr(t, "too much", h.Remember(t.Context(), "1001", anna, big, time.Hour), schema.ErrTooMuch)
	for _, c := range []struct{ caller, values string }{{"", `{"a":1}`}, {"anonymous", `{"a":1}`}, {anna, `[1]`}, {anna, `null`}, {anna, `{`}} {
		if err := h.Remember(t.Context(), "1001", c.caller, []byte(c.values), time.Hour); err == nil {
			t.Errorf("remembered %s of %q", c.values, c.caller)
		} else if strings.Contains(err.Error(), anna) {
			t.Errorf("the error has the number: %v", err)
		}
	}
	if got := known(t, h, anna); got != `{"a":1}` {
		t.Errorf("what was refused changed something: %s", got)
	}
	wantErr(t, "a full store", unkept(fmt.Errorf("wrapped: %w", store.ErrFull)), schema.ErrNoSpace)
	if err := unkept(store.ErrUnavailable); errors.Is(err, schema.ErrNoSpace) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a store that is down is told as %v", err)
	}
}

func FuzzVariables(f *testing.F) {
	f.Add([]byte(`{"a":{"v":1,"u":2000},"b":{"v":"x","u":500}}`), []byte(`{"b":[1]}`))
	f.Fuzz(func(t *testing.T, stored, values []byte) {
		now := time.UnixMilli(1000)
		all := parseVariables(stored)
		object, err := all.object(now)
		if err != nil { // the store's own bytes, which nobody else writes: a value may be missing
			return
		}
		left := all.live(now)
		for name := range all {
			if _, there := left[name]; there != (all[name].Until > 1000) {
				t.Errorf("%q, kept until %d, is there: %v", name, all[name].Until, there)
			}
		}
		if len(left) == 0 {
			if object != nil {
				t.Errorf("of nothing %q is told", object)
			}
			return
		}
		var told map[string]json.RawMessage
		if err := json.Unmarshal(object, &told); err != nil || len(told) != len(left) {
			t.Errorf("told %q of %d variables: %v", object, len(left), err)
		}
		body, err := encode(left)
		if err != nil {
			return
		}
		if again := parseVariables(body); !reflect.DeepEqual(again.names(), left.names()) {
			t.Errorf("%v became %v", left.names(), again.names())
		}
	})
}

func (v variables) names() map[string]int64 {
	names := map[string]int64{}
	for name, one := range v {
		names[name] = one.Until
	}
	return names
}
