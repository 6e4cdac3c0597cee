package history

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

const anna = "380501112233"

// number asks which call it is.
func number(t testing.TB, h *History, caller, callID string, continued bool) uint64 {
	t.Helper()
	r := schema.Recall{Project: "1001", Caller: caller, CallID: callID, Continued: continued, WantCalls: true}
	h.Recall(&r, time.Now().Add(time.Minute))
	if r.CallsResult != schema.RecallOK {
		t.Fatalf("recall: %s", r.CallsResult)
	}
	return r.Callnum
}

// written waits until so many calls have been counted.
func written(t testing.TB, h *History, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d calls are counted", n), func() bool {
		return counted(t, h, whatCalls, "ok") >= float64(n)
	})
}

func TestACallersCallsAreCounted(t *testing.T) {
	onEach(t, func(t *testing.T, s store.Store) {
		h := open(t, s)
		if n := number(t, h, anna, "c1", false); n != 1 {
			t.Errorf("the first call is number %d", n)
		}
		h.Called("1001", anna, "c1")
		written(t, h, 1)
		if n := number(t, h, anna, "c2", false); n != 2 {
			t.Errorf("the second call is number %d", n)
		}
		// The same call, asked about again: repeated with another callee, or continued.
		h.Called("1001", anna, "c1")
		h.Called("1001", anna, "c2")
		h.Called("1001", anna, "c2")
		written(t, h, 3)
		for id, want := range map[string]uint64{"c1": 1, "c2": 2, "c3": 3} {
			if n := number(t, h, anna, id, false); n != want {
				t.Errorf("call %s is number %d; want %d", id, n, want)
			}
		}
		if n := number(t, h, anna, "", true); n != 2 {
			t.Errorf("a continued call without an id is number %d; want 2, the last one", n)
		}
		h.Called("1001", anna, "")
		h.Called("1001", anna, "")
		written(t, h, 5)
		if n := number(t, h, anna, "", false); n != 5 {
			t.Errorf("after two calls without an id: number %d; want 5", n)
		}
		if n := number(t, h, "380509999999", "c1", false); n != 1 {
			t.Errorf("another caller's first call is number %d", n)
		}
		r := schema.Recall{Project: "1002", Caller: anna, WantCalls: true}
		if h.Recall(&r, time.Now().Add(time.Minute)); r.Callnum != 1 {
			t.Errorf("another project counts with this one: %d", r.Callnum)
		}

		// Another instance counts on, and a call that both were asked about once.
		other := open(t, s)
		if n := number(t, other, anna, "c9", false); n != 5 {
			t.Errorf("the other instance says number %d; want 5", n)
		}
		other.Called("1001", anna, "c9")
		h.Called("1001", anna, "c9")
		written(t, other, 1)
		written(t, h, 6)
		if n := number(t, h, anna, "c10", false); n != 6 {
			t.Errorf("a call that two instances were asked about counts %d times", n-5)
		}
	})
}

func TestInstancesLoseNoCallBetweenThem(t *testing.T) {
	onEach(t, func(t *testing.T, s store.Store) {
		const each = 50
		instances := []*History{open(t, s), open(t, s), open(t, s)}
		for i := range each {
			for j, h := range instances {
				h.Called("1001", anna, fmt.Sprintf("call-%d-%d", i, j))
			}
		}
		for _, h := range instances {
			written(t, h, each)
		}
		if n := number(t, instances[0], anna, "next", false); n != 3*each+1 {
			t.Errorf("the next call is number %d; want %d", n, 3*each+1)
		}
	})
}

func TestWhatIsQueuedIsWrittenAtTheEnd(t *testing.T) {
	s := openBolt(t)
	h := open(t, s)
	for i := range 500 {
		h.Called("1001", fmt.Sprintf("3805000%05d", i%100), fmt.Sprintf("call-%d", i))
	}
	closeHistory(h)
	h = open(t, s)
	for i := range 100 {
		if n := number(t, h, fmt.Sprintf("3805000%05d", i), "x", false); n != 6 {
			t.Fatalf("caller %d: the next call is number %d; want 6", i, n)
		}
	}
}

func TestACallerIsForgottenInTime(t *testing.T) {
	s := openBolt(t)
	h := open(t, s, func(o *Options) { o.Settings.Keep = 50 * time.Millisecond })
	h.Called("1001", anna, "c1")
	written(t, h, 1)
	eventually(t, "the caller is forgotten", func() bool { return number(t, h, anna, "c2", false) == 1 })

	h.Apply(schema.Callers{Keep: 0, Deadline: time.Second})
	h.Called("1001", anna, "c3")
	r := schema.Recall{Project: "1001", Caller: anna, WantCalls: true}
	if h.Recall(&r, time.Now().Add(time.Minute)); r.CallsResult != schema.RecallSkipped || r.Callnum != 0 {
		t.Errorf("with keep 0: %s, number %d; want nothing", r.CallsResult, r.Callnum)
	}
}

func TestNoNumberIsInTheStoreInClear(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "test.db")
	s, err := store.Open(t.Context(), "bolt:"+dir)
	must(t, err)
	h := open(t, s)
	h.Called("1001", anna, "call-id-of-anna")
	written(t, h, 1)
	must(t, h.Remember(t.Context(), "1001", anna, []byte(`{"city":"Kyiv"}`), time.Hour))
	closeHistory(h)
	must(t, s.Close())
	file, err := os.ReadFile(dir)
	must(t, err)
	for _, text := range []string{anna, "call-id-of-anna"} {
		if strings.Contains(string(file), text) {
			t.Errorf("%s stands in the store", text)
		}
	}
	if !strings.Contains(string(file), "Kyiv") {
		t.Error("the file does not hold what was written; the test looks at the wrong one")
	}
}

func TestInstancesShareTheKey(t *testing.T) {
	onEach(t, func(t *testing.T, s store.Store) {
		var all []*History
		for range 5 { // started together: each may be the one that makes it
			all = append(all, openUnready(t, s))
		}
		for _, h := range all {
			eventually(t, "the key is known", func() bool { return h.key.Load() != nil })
			if !slices.Equal(*h.key.Load(), *all[0].key.Load()) {
				t.Error("two instances have two keys")
			}
		}
		given := open(t, s, func(o *Options) { o.Key = schema.NewSecret("configured") })
		if string(*given.key.Load()) != "configured" {
			t.Error("the configured key is not the one in use")
		}
	})
}

func FuzzCalls(f *testing.F) {
	f.Add([]byte{callsVersion, 3, 0, 0, 0, 0, 0, 0, 0, 7}, uint64(7))
	f.Add([]byte{callsVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, uint64(0))
	f.Fuzz(func(t *testing.T, stored []byte, hash uint64) {
		c := parseCalls(stored)
		if again := parseCalls(c.append(nil)); again.count != c.count || !slices.Equal(again.last, c.last) {
			t.Fatalf("%v became %v", c, again)
		}
		if c.count > 1<<62 {
			return
		}
		before := c.count
		known := hash != 0 && slices.Contains(c.last, hash)
		next := c.numberOf(hash, false)
		c.add(hash)
		switch {
		case known && c.count != before:
			t.Errorf("a known call was counted: %d, then %d", before, c.count)
		case !known && (c.count != before+1 || next != c.count):
			t.Errorf("call %d, told to be %d, made %d of %d", hash, next, c.count, before)
		case hash != 0 && c.numberOf(hash, false) != next:
			t.Errorf("call %d is number %d before it was counted and %d after", hash, next, c.numberOf(hash, false))
		}
		once := binary.BigEndian.Uint64([]byte("only-one"))
		c.add(once)
		if c.numberOf(once, true) != max(1, c.count) && !known {
			t.Errorf("the last call is not the last: %d of %d", c.numberOf(once, true), c.count)
		}
	})
}
