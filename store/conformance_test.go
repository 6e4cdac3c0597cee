package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// conformance is what every backend passes; the outbox's part is in outbox_test.go.
var conformance = map[string]func(*testing.T, Store){
	"a document is made, read, changed and deleted":                testDocument,
	"a write that expects another version changes nothing":         testConflicts,
	"a document made again never has an old version":               testVersionsAreNotReused,
	"of writers at the same time one wins each version":            testConcurrentWriters,
	"documents are listed in order, by prefix, page by page":       testList,
	"what has changed since is told in order, deletions too":       testChanged,
	"deletions long ago are forgotten, and that is told":           testForgotten,
	"following changes gives what a list gives":                    testFollowing,
	"any bytes are kept, and are the store's own":                  testBytes,
	"a watch wakes at its start and at each change, and ends":      testWatch,
	"a trail keeps the newest entries and pages backwards":         testTrail,
	"a value lives as long as it was told":                         testValueExpires,
	"a value is set once where it must be absent":                  testSetIfAbsent,
	"a value is swapped where it is still the one expected":        testSwap,
	"a counter counts every call and forgets when idle":            testCounter,
	"names that some backend cannot keep are refused":              testNames,
	"a context that has ended ends every call":                     testEndedContext,
	"a closed store is unavailable":                                testClosed,
	"an item is leased when due, once, and gone when acked":        testOutbox,
	"a lapsed lease is another worker's":                           testLapsedLease,
	"a rescheduled item comes back when due, with its new body":    testReschedule,
	"an item enqueued twice is there once":                         testEnqueueTwice,
	"queues are leased from apart":                                 testQueuesApart,
	"workers at the same time share the items and miss none":       testConcurrentWorkers,
	"a random walk through the outbox does what a simple one does": testOutboxWalk,
	"what is enqueued once is not enqueued again until forgotten":  testEnqueueOnce,
	"of many that enqueue the same once one does":                  testEnqueueOnceAtOnce,
	"items of a group are leased one after another":                testGroups,
	"many queues are leased from at once, each within its limit":   testLeaseAll,
	"many items are settled at once, and what was lost is counted": testSettle,
	"a record grows, and a log keeps the last of them":             testRecords,
	"a log is listed backwards, and forgets its first":             testForgetRecords,
	"held records have room of their own":                          testHeldRecords,
	"a group keeps its order across queues":                        testGroupsOfManyQueues,
}

// conform runs the suite, each case on an empty store.
func conform(t *testing.T, fresh func(*testing.T) Store) {
	for name, test := range conformance {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			test(t, s)
		})
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until done says true.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v; want %v", what, got, want)
	}
}

func put(t *testing.T, s Store, kind, id, body string, expected uint64) uint64 {
	t.Helper()
	v, err := s.PutDoc(t.Context(), kind, id, []byte(body), expected)
	must(t, err)
	return v
}

func testDocument(t *testing.T, s Store) {
	ctx := t.Context()
	_, err := s.GetDoc(ctx, "project", "1")
	wantErr(t, "a document that is not there", err, ErrNotFound)
	v1 := put(t, s, "project", "1", `{"a":1}`, 0)
	v2 := put(t, s, "project", "1", `{"a":2}`, v1)
	d, err := s.GetDoc(ctx, "project", "1")
	must(t, err)
	n, err := s.Change(ctx)
	must(t, err)
	if d.ID != "1" || d.Version != v2 || string(d.Body) != `{"a":2}` || v2 <= v1 || n != v2 {
		t.Errorf("got %+v with body %s, versions %d and %d, change %d", d, d.Body, v1, v2, n)
	}
	_, err = s.GetDoc(ctx, "hook", "1")
	wantErr(t, "the same id of another kind", err, ErrNotFound)
	must(t, s.DeleteDoc(ctx, "project", "1", v2))
	_, err = s.GetDoc(ctx, "project", "1")
	wantErr(t, "a deleted document", err, ErrNotFound)
	if n, err = s.Change(ctx); err != nil || n != v2+1 {
		t.Errorf("got change %d, %v after a deletion; want %d", n, err, v2+1)
	}
}

func testConflicts(t *testing.T, s Store) {
	ctx := t.Context()
	v := put(t, s, "project", "1", "old", 0)
	_, err := s.PutDoc(ctx, "project", "1", []byte("new"), 0)
	wantErr(t, "making one that is there", err, ErrConflict)
	_, err = s.PutDoc(ctx, "project", "1", []byte("new"), v+1)
	wantErr(t, "changing another version", err, ErrConflict)
	_, err = s.PutDoc(ctx, "project", "2", []byte("new"), v)
	wantErr(t, "changing one that is not there", err, ErrNotFound)
	wantErr(t, "deleting another version", s.DeleteDoc(ctx, "project", "1", v+1), ErrConflict)
	wantErr(t, "deleting one that is there as if it were not", s.DeleteDoc(ctx, "project", "1", 0), ErrConflict)
	wantErr(t, "deleting one that is not there", s.DeleteDoc(ctx, "project", "2", v), ErrNotFound)
	wantErr(t, "deleting none", s.DeleteDoc(ctx, "project", "2", 0), ErrNotFound)
	d, err := s.GetDoc(ctx, "project", "1")
	must(t, err)
	if n, err := s.Change(ctx); err != nil || n != v || d.Version != v || string(d.Body) != "old" {
		t.Errorf("got change %d, %v, document %+v; want nothing changed since %d", n, err, d, v)
	}
}

func testVersionsAreNotReused(t *testing.T, s Store) {
	v1 := put(t, s, "project", "1", "a", 0)
	must(t, s.DeleteDoc(t.Context(), "project", "1", v1))
	v2 := put(t, s, "project", "1", "b", 0)
	_, err := s.PutDoc(t.Context(), "project", "1", []byte("c"), v1)
	wantErr(t, fmt.Sprintf("the version %d of a document deleted since, now %d", v1, v2), err, ErrConflict)
}

func testConcurrentWriters(t *testing.T, s Store) {
	const writers, each = 8, 15
	put(t, s, "n", "1", "0", 0)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				d, err := s.GetDoc(t.Context(), "n", "1")
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				fmt.Sscan(string(d.Body), &n)
				switch _, err := s.PutDoc(t.Context(), "n", "1", fmt.Append(nil, n+1), d.Version); {
				case err == nil:
					done++
				case !errors.Is(err, ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	d, err := s.GetDoc(t.Context(), "n", "1")
	if err != nil || string(d.Body) != fmt.Sprint(writers*each) || d.Version != 1+writers*each {
		t.Errorf("got %s in version %d, %v; want %d", d.Body, d.Version, err, writers*each)
	}
}

func testList(t *testing.T, s Store) {
	for _, id := range []string{"b", "a/2", "a/10", "a", "a/\xff\xff", "a0", "{x}", "\xff", "кир"} {
		put(t, s, "kind", id, "body of "+id, 0)
	}
	put(t, s, "kind2", "a/3", "", 0)
	for _, tc := range []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{"", "", 100, "a a/10 a/2 a/\xff\xff a0 b {x} кир \xff"},
		{"a/", "", 100, "a/10 a/2 a/\xff\xff"},
		{"a/", "", 2, "a/10 a/2"},
		{"a/", "a/2", 2, "a/\xff\xff"},
		{"a/", "a/15", 2, "a/2 a/\xff\xff"},
		{"a/", "a", 1, "a/10"},
		{"a/", "a/\xff\xff", 2, ""},
		{"a/", "z", 2, ""},
		{"\xff", "", 2, "\xff"},
		{"", "{x}", 1, "кир"},
		{"", "", 0, ""},
		{"none", "", 5, ""},
	} {
		list, err := s.ListDocs(t.Context(), "kind", tc.prefix, tc.after, tc.limit)
		must(t, err)
		var ids []string
		for _, d := range list {
			ids = append(ids, d.ID)
			if string(d.Body) != "body of "+d.ID || d.Version == 0 {
				t.Errorf("%q: got %+v, body %q", d.ID, d, d.Body)
			}
		}
		if got := strings.Join(ids, " "); got != tc.want {
			t.Errorf("prefix %q, after %q, %d: got %q; want %q", tc.prefix, tc.after, tc.limit, got, tc.want)
		}
	}
}

func testBytes(t *testing.T, s Store) {
	ctx := t.Context()
	for i, want := range [][]byte{{}, {0}, []byte(" 12 \r\n\xff\x00{}"), bytes.Repeat([]byte("0123456789"), 100_000)} {
		id, buffer := fmt.Sprint(i), bytes.Clone(want)
		_, err := s.PutDoc(ctx, "b", id, buffer, 0)
		must(t, err)
		must(t, s.Set(ctx, id, buffer, time.Hour))
		must(t, s.Append(ctx, "b"+id, buffer, 5))
		queueUp(t, s, Item{ID: id, Queue: "q" + id, Body: buffer})
		for j := range buffer {
			buffer[j] = 'X' // the caller's buffer is the caller's again
		}
		d, err := s.GetDoc(ctx, "b", id)
		must(t, err)
		v, err := s.Get(ctx, id)
		must(t, err)
		entries, err := s.Entries(ctx, "b"+id, "", 1)
		must(t, err)
		leased, err := s.Lease(ctx, "q"+id, time.Now(), 1, time.Minute)
		must(t, err)
		if !bytes.Equal(d.Body, want) || !bytes.Equal(v, want) || !bytes.Equal(entries[0].Body, want) || !bytes.Equal(leased[0].Body, want) {
			t.Errorf("%d bytes did not come back as they went in", len(want))
		}
	}
}

// woken waits for one wake.
func woken(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case _, open := <-ch:
		if !open {
			t.Fatalf("%s: the watch has ended", what)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: no wake in 30 s", what)
	}
}

func testWatch(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	first, second := s.Watch(ctx), s.Watch(t.Context())
	woken(t, "at its start", first)
	woken(t, "at its start", second)
	v := put(t, s, "project", "1", "a", 0)
	woken(t, "a new document", first)
	woken(t, "a new document", second)
	must(t, s.DeleteDoc(t.Context(), "project", "1", v))
	woken(t, "a deletion", first)
	cancel()
	for range first { // to its end
	}
	woken(t, "a deletion, the other watch ended", second)
	must(t, s.Close())
	for range second {
	}
	for range s.Watch(t.Context()) {
	}
}

func testTrail(t *testing.T, s Store) {
	ctx := t.Context()
	if list, err := s.Entries(ctx, "audit", "", 5); err != nil || len(list) != 0 {
		t.Errorf("got %v, %v of a trail without entries", list, err)
	}
	for i := range 25 {
		must(t, s.Append(ctx, "audit", fmt.Append(nil, i), 10))
	}
	must(t, s.Append(ctx, "other", []byte("x"), 10))
	var got []string
	before := ""
	for {
		list, err := s.Entries(ctx, "audit", before, 4)
		must(t, err)
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			got = append(got, string(e.Body))
			before = e.ID
		}
	}
	if fmt.Sprint(got) != "[24 23 22 21 20 19 18 17 16 15]" {
		t.Errorf("got %v; want the newest ten, the newest first", got)
	}
	must(t, s.Append(ctx, "audit", []byte("last"), 0))
	if list, err := s.Entries(ctx, "audit", "", 5); err != nil || len(list) != 1 || string(list[0].Body) != "last" {
		t.Errorf("got %v, %v; want the last one only", list, err)
	}
	for _, id := range []string{"none", "1-", "-1", "1-2-3", "00-\n"} {
		_, err := s.Entries(ctx, "audit", id, 5)
		wantErr(t, fmt.Sprintf("entries before %q", id), err, ErrNotFound)
	}
}

func testValueExpires(t *testing.T, s Store) {
	ctx := t.Context()
	_, err := s.Get(ctx, "k")
	wantErr(t, "a value never set", err, ErrNotFound)
	must(t, s.Set(ctx, "k", []byte("short"), time.Millisecond))
	eventually(t, "the value expires", func() bool { _, err = s.Get(ctx, "k"); return err != nil })
	wantErr(t, "an expired value", err, ErrNotFound)
	must(t, s.Set(ctx, "k", []byte("short"), 50*time.Millisecond))
	must(t, s.Set(ctx, "k", []byte("long"), time.Hour))
	must(t, s.Set(ctx, "sentinel", nil, 50*time.Millisecond))
	eventually(t, "the first life of k is over", func() bool { _, err = s.Get(ctx, "sentinel"); return err != nil })
	if v, err := s.Get(ctx, "k"); err != nil || string(v) != "long" {
		t.Errorf("got %q, %v; want the later life to count", v, err)
	}
	must(t, s.Unset(ctx, "k"))
	must(t, s.Unset(ctx, "k"))
	_, err = s.Get(ctx, "k")
	wantErr(t, "a value unset", err, ErrNotFound)
	if err := s.Set(ctx, "k", nil, time.Microsecond); err == nil {
		t.Error("a life under a millisecond passes")
	}
}

func testSetIfAbsent(t *testing.T, s Store) {
	var won atomic.Int32
	var wg sync.WaitGroup
	values := make([]string, 16)
	for i := range values {
		wg.Go(func() {
			mine := fmt.Sprint(i)
			existing, set, err := s.SetIfAbsent(t.Context(), "key", []byte(mine), time.Hour)
			if err != nil {
				t.Error(err)
			}
			values[i] = string(existing)
			if set {
				values[i] = mine
				won.Add(1)
			}
		})
	}
	wg.Wait()
	v, err := s.Get(t.Context(), "key")
	must(t, err)
	for i := range values {
		if values[i] != string(v) {
			t.Errorf("caller %d was told %q; kept is %q", i, values[i], v)
		}
	}
	if won.Load() != 1 {
		t.Errorf("%d callers set the value; want one", won.Load())
	}
	must(t, s.Set(t.Context(), "empty", nil, time.Hour))
	if _, set, err := s.SetIfAbsent(t.Context(), "empty", []byte("x"), time.Hour); err != nil || set {
		t.Errorf("got %v, %v; an empty value is one", set, err)
	}
	must(t, s.Set(t.Context(), "short", nil, time.Millisecond))
	eventually(t, "what has expired is absent", func() bool {
		_, set, err := s.SetIfAbsent(t.Context(), "short", []byte("x"), time.Hour)
		must(t, err)
		return set
	})
}

func testCounter(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.Set(ctx, "caller", []byte("a value of the same name"), time.Hour))
	if n, err := s.Count(ctx, "caller"); err != nil || n != 0 {
		t.Errorf("got %d, %v; want 0 for a counter never used", n, err)
	}
	seen := make([]atomic.Int32, 101)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 10 {
				n, err := s.Increment(ctx, "caller", time.Hour)
				if err != nil || n > 100 {
					t.Errorf("got %d, %v", n, err)
					return
				}
				seen[n].Add(1)
			}
		})
	}
	wg.Wait()
	for n := 1; n <= 100; n++ {
		if seen[n].Load() != 1 {
			t.Errorf("the count %d was given %d times", n, seen[n].Load())
		}
	}
	if n, err := s.Count(ctx, "caller"); err != nil || n != 100 {
		t.Errorf("got %d, %v; want 100", n, err)
	}
	_, err := s.Increment(ctx, "short", time.Hour)
	must(t, err)
	_, err = s.Increment(ctx, "short", time.Millisecond)
	must(t, err)
	eventually(t, "the counter forgets, the last life counting", func() bool {
		n, err := s.Count(ctx, "short")
		must(t, err)
		return n == 0
	})
	if n, err := s.Increment(ctx, "short", time.Hour); err != nil || n != 1 {
		t.Errorf("got %d, %v; want 1 again", n, err)
	}
}

func testNames(t *testing.T, s Store) {
	ctx := t.Context()
	for _, bad := range []string{"", "a\x00b", strings.Repeat("x", maxName+1)} {
		_, err1 := s.PutDoc(ctx, bad, "id", nil, 0)
		_, err2 := s.PutDoc(ctx, "kind", bad, nil, 0)
		_, _, err3 := s.SetIfAbsent(ctx, bad, nil, time.Hour)
		_, err4 := s.Increment(ctx, bad, time.Hour)
		for i, err := range []error{err1, err2, err3, err4, s.Set(ctx, bad, nil, time.Hour), s.Append(ctx, bad, nil, 1),
			tryEnqueue(ctx, s, Item{ID: bad, Queue: "q"}), tryEnqueue(ctx, s, Item{ID: "1", Queue: "q"}, Item{ID: "2", Queue: bad})} {
			if err == nil || errors.Is(err, ErrUnavailable) {
				t.Errorf("%d bytes, write %d: got %v; want it refused", len(bad), i, err)
			}
		}
	}
	held, err := s.Held(ctx)
	n, err2 := s.Change(ctx)
	if err != nil || err2 != nil || len(held) != 0 || n != 0 {
		t.Errorf("got %v, %v, change %d, %v; want nothing written", held, err, n, err2)
	}
	put(t, s, strings.Repeat("k", maxName), strings.Repeat("i", maxName), "the longest", 0)
}

// allCalls makes every call that reaches the backend and returns its error by name.
func allCalls(ctx context.Context, s Store) map[string]error {
	errs := map[string]error{"Ping": s.Ping(ctx), "Set": s.Set(ctx, "k", nil, time.Hour), "Unset": s.Unset(ctx, "k"),
		"Append": s.Append(ctx, "t", nil, 1), "DeleteDoc": s.DeleteDoc(ctx, "k", "i", 1), "Enqueue": tryEnqueue(ctx, s, Item{ID: "1", Queue: "q"}),
		"Ack": s.Ack(ctx, Leased{ID: "1", Queue: "q"}), "Reschedule": s.Reschedule(ctx, Leased{ID: "1", Queue: "q"}, time.Now(), nil)}
	_, errs["GetDoc"] = s.GetDoc(ctx, "k", "i")
	_, errs["PutDoc"] = s.PutDoc(ctx, "k", "i", nil, 0)
	_, errs["ListDocs"] = s.ListDocs(ctx, "k", "", "", 1)
	_, errs["Change"] = s.Change(ctx)
	_, errs["Entries"] = s.Entries(ctx, "t", "", 1)
	_, _, errs["SetIfAbsent"] = s.SetIfAbsent(ctx, "k", nil, time.Hour)
	_, errs["Get"] = s.Get(ctx, "k")
	_, errs["Increment"] = s.Increment(ctx, "k", time.Hour)
	_, errs["Count"] = s.Count(ctx, "k")
	_, errs["Ready"] = s.Ready(ctx, time.Now())
	_, errs["Lease"] = s.Lease(ctx, "q", time.Now(), 1, time.Minute)
	_, errs["Held"] = s.Held(ctx)
	_, errs["ListRecords"] = s.ListRecords(ctx, "log", "", 1)
	_, errs["ListHeld"] = s.ListHeld(ctx, "log", "", 1)
	_, errs["Logs"] = s.Logs(ctx)
	_, errs["HeldLogs"] = s.HeldLogs(ctx)
	return errs
}

func allUnavailable(t *testing.T, ctx context.Context, s Store) {
	t.Helper()
	for call, err := range allCalls(ctx, s) {
		wantErr(t, call, err, ErrUnavailable)
	}
}

func testEndedContext(t *testing.T, s Store) {
	must(t, s.Ping(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	allUnavailable(t, ctx, s)
	for call, err := range allCalls(ctx, s) {
		wantErr(t, call, err, context.Canceled)
	}
	if n, err := s.Change(t.Context()); err != nil || n != 0 {
		t.Errorf("got change %d, %v; want nothing written", n, err)
	}
}

func testClosed(t *testing.T, s Store) {
	must(t, s.Ping(t.Context()))
	must(t, s.Close())
	must(t, s.Close())
	allUnavailable(t, t.Context(), s)
}
