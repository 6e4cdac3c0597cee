package router

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"
	"unsafe"

	"hookswitch/schema"
)

func (g *rig) remember(window time.Duration, size int) { g.repeats = newRepeats(window, size) }

// lookup decides about a call by its id.
func (g *rig) lookup(callid string) *schema.Decision {
	call := schema.Call{At: time.Now()}
	call.Deadline = call.At.Add(5 * time.Second)
	call.SetNamed([]byte("callee"), []byte("380442223344"))
	call.SetNamed([]byte("callid"), []byte(callid))
	d := &schema.Decision{}
	g.Decide(&call, d)
	return d
}

func TestARepeatedLookupGetsTheDecisionAlreadyMade(t *testing.T) {
	t.Run("and the hook is asked once", func(t *testing.T) {
		g := newRig(t, testConfig)
		g.remember(time.Minute, 1<<20)
		g.hooks["crm"].set(gives(t, "380441111111", "sip/a@pbx.example"))
		first, again := g.lookup("c1"), g.lookup("c1")
		if first.Repeated || !again.Repeated || summary(first) != summary(again) || first.ID != again.ID || again.CallID != "c1" || again.Dialing != first.Dialing {
			t.Errorf("\nfirst %s\nagain %s", summary(first), summary(again))
		}
		g.lookup("c2")
		if n := g.hooks["crm"].asked.Load(); n != 2 {
			t.Errorf("two calls asked the hook %d times", n)
		}
	})
	t.Run("without a call id nothing is joined", func(t *testing.T) {
		g := newRig(t, testConfig)
		g.remember(time.Minute, 1<<20)
		for range 2 {
			if g.lookup("").Repeated {
				t.Error("joined")
			}
		}
	})
	t.Run("another PBX that asks about the same call in its own way is not repeating", func(t *testing.T) {
		g := newRig(t, testConfig)
		g.remember(time.Minute, 1<<20)
		ask := func(dialect string, oneStep bool) *schema.Decision {
			call := schema.Call{At: time.Now(), Dialect: dialect, OneStep: oneStep}
			call.SetNamed([]byte("callee"), []byte("380442220007"))
			call.SetNamed([]byte("callid"), []byte("c1"))
			d := &schema.Decision{}
			g.Decide(&call, d)
			return d
		}
		if d := ask("kamailio", true); len(d.Steps) != 1 || d.Next == "" {
			t.Fatalf("one step at a time: %s", summary(d))
		}
		if d := ask("json", false); d.Repeated || len(d.Steps) != 4 || d.Next != "" {
			t.Errorf("all steps: %s", summary(d))
		}
	})
	t.Run("not after the window", func(t *testing.T) {
		g := newRig(t, testConfig)
		g.remember(time.Nanosecond, 1<<20)
		g.lookup("c1")
		if g.lookup("c1").Repeated {
			t.Error("joined")
		}
	})
	t.Run("while it is being decided, all who ask wait for the one answer", func(t *testing.T) {
		g := newRig(t, testConfig)
		g.remember(time.Minute, 1<<20)
		asked, leave := make(chan bool, 1), make(chan bool)
		good := gives(t, "380441111111")
		g.hooks["crm"].set(func(a *schema.Answer) { asked <- true; <-leave; good(a) })
		var group sync.WaitGroup
		results := make(chan *schema.Decision, 10)
		ask := func() { results <- g.lookup("c1") }
		group.Go(ask)
		<-asked
		for range 9 {
			group.Go(ask)
		}
		time.Sleep(10 * time.Millisecond)
		close(leave)
		group.Wait()
		repeated := 0
		for range 10 {
			d := <-results
			if d.Repeated {
				repeated++
			}
			if d.Source != schema.SourceHook {
				t.Errorf("got %s", summary(d))
			}
		}
		if n := g.hooks["crm"].asked.Load(); n != 1 || repeated != 9 {
			t.Errorf("asked %d times, %d repeated; want 1 and 9", n, repeated)
		}
	})
}

func TestTheMemoryOfDecisionsIsBounded(t *testing.T) {
	r := newRepeats(time.Hour, repeatShards*16<<10)
	for i := range 200_000 {
		var k repeatKey
		k[0], k[1] = uint64(i%7), uint64(i) // seven shards, many keys
		d := &schema.Decision{Project: "p", Schema: fmt.Sprint(rand.IntN(1 << 30)), Steps: []schema.DecidedStep{{Hangup: "busy"}}}
		r.end(k, time.Now(), d)
		var got schema.Decision
		s := &r.shards[k[0]%repeatShards]
		if !s.ring.recall(k, &got, time.Now(), time.Hour) || got.Schema != d.Schema {
			t.Fatalf("entry %d is lost or another's: %+v", i, got)
		}
		if n := s.ring.bytes(); n > 16<<10 {
			t.Fatalf("the ring holds %d bytes; want at most 16 KiB", n)
		}
	}
	for i := range 7 {
		r := &r.shards[i].ring
		if n := r.bytes(); n < 15<<10 {
			t.Errorf("shard %d holds %d bytes; want nearly all of 16 KiB", i, n)
		}
	}
}

// bytes is what the pages take.
func (r *ring) bytes() (n int) {
	for i := range r.pages {
		n += len(r.pages[i].bytes)
	}
	return n
}

func TestTheMemoryOfDecisionsGrowsOnlyAsTheWindowAsks(t *testing.T) {
	now, d := time.Now(), &schema.Decision{Project: "p", Steps: []schema.DecidedStep{{Hangup: "busy"}}}
	text := appendDecision(nil, d)
	held := func(window time.Duration) (bytes int) {
		r := newRing(1 << 20)
		for i := range 5000 { // one each millisecond
			k, at := repeatKey{uint64(i), uint64(i)}, now.Add(time.Duration(i)*time.Millisecond)
			r.remember(k, text, at, window)
			for _, age := range []int{0, int(window/time.Millisecond) - 1} {
				old := uint64(max(i-age, 0))
				if got := (schema.Decision{}); !r.recall(repeatKey{old, old}, &got, at, window) || got.Project != "p" {
					t.Fatalf("window %v: entry %d, %d ms old, is lost", window, old, age)
				}
			}
		}
		return r.bytes()
	}
	const page = 1 << 20 / ringPages
	if bytes := held(10 * time.Millisecond); bytes > 2*page {
		t.Errorf("%d bytes are held for 10 entries; want at most two pages", bytes)
	}
	if bytes := held(time.Second); bytes > 3*page {
		t.Errorf("%d bytes are held for 1000 entries, of 80 KiB; want at most three pages", bytes)
	}
}

func TestKeysOfOneBucketAreNotTakenForEachOther(t *testing.T) {
	r := newRing(1 << 20)
	now := time.Now()
	for i := range uint64(200) {
		text := appendDecision(nil, &schema.Decision{Schema: fmt.Sprint(i)})
		r.remember(repeatKey{i, 7}, text, now, time.Minute)
	}
	for i := range uint64(200) {
		var d schema.Decision
		if !r.recall(repeatKey{i, 7}, &d, now, time.Minute) || d.Schema != fmt.Sprint(i) {
			t.Fatalf("key %d recalls %q", i, d.Schema)
		}
	}
	if r.recall(repeatKey{200, 7}, &schema.Decision{}, now, time.Minute) {
		t.Error("a key that was never remembered is recalled")
	}
}

func BenchmarkRepeats(b *testing.B) {
	r := newRepeats(32*time.Second, 16<<20)
	call := schema.Call{At: time.Now()}
	d := schema.Decision{Project: "1001", Hook: "crm", Steps: []schema.DecidedStep{{
		Dial: []schema.Destination{{User: "380441111111"}, {User: "380441111112"}}, Strategy: schema.All, Timeout: 90 * time.Second,
	}}}
	call.SetNamed([]byte("callee"), []byte("380442223344"))
	id := []byte("0000000000.0000000")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		binary.LittleEndian.PutUint64(id, uint64(i))
		call.SetString(schema.ParamCallID, unsafe.String(&id[0], len(id)))
		k := r.key(&call)
		r.begin(k, &call, &d)
		r.end(k, call.At, &d)
	}
}

func TestRememberingALookupAllocatesNothing(t *testing.T) {
	r := newRepeats(time.Minute, 16<<10) // full at once
	call, d := schema.Call{At: time.Now()}, schema.Decision{Project: "1001", Steps: []schema.DecidedStep{{Hangup: "busy"}}}
	i := uint64(0)
	once := func() {
		i++
		k := r.key(&call)
		k[0], k[1] = k[0]+i, k[1]+i
		r.begin(k, &call, &d)
		r.end(k, call.At, &d)
	}
	for range 10000 {
		once()
	}
	if n := testing.AllocsPerRun(1000, once); n != 0 {
		t.Errorf("%v allocations a lookup; want none", n)
	}
}

func TestADecisionIsRememberedWhole(t *testing.T) {
	want := schema.Decision{
		Source: schema.SourceLastGood, Reason: schema.ReasonLoop, Project: "1001", Version: 7, Schema: "26076", Hook: "crm", Next: "cursor",
		Steps: []schema.DecidedStep{
			{
				Dial: []schema.Destination{
					{Kind: schema.KindNumber, User: "380441111111"},
					{Kind: schema.KindSIP, User: "a", Host: "pbx.example", Port: 5070},
					{Kind: schema.KindSIP, User: "b", Host: "pbx.example", Slash: true},
					{Kind: schema.KindLogin, User: "anna"},
				},
				Strategy: schema.InOrder, Timeout: 45 * time.Second, MOH: "jazz", Announce: "hello",
			},
			{Strategy: schema.All, Voicemail: "1001"}, {Strategy: schema.All, Playback: "closed.wav"}, {Strategy: schema.All, Hangup: "busy"},
		},
	}
	copy(want.ID[:], "01M82GCZ2QJJCQ85QE8PMCPBEX")
	var got schema.Decision
	readDecision(appendDecision(nil, &want), &got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\ngot  %+v\nwant %+v", got, want)
	}
}

func TestNoPartOfALookupRunsIntoTheNext(t *testing.T) {
	r := newRepeats(time.Minute, 1<<20)
	one, other := schema.Call{Hook: "a\x00b"}, schema.Call{Hook: "a", Schema: "b\x00"}
	if r.key(&one) == r.key(&other) {
		t.Error("two lookups are taken for one")
	}
}
