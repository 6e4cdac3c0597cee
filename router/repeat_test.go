package router

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

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
	r := newRepeats(time.Hour, 64*4096)
	held := 0
	for i := range 200_000 {
		var k repeatKey
		k[0], k[1] = uint64(i%7), uint64(i) // seven shards, many keys
		d := &schema.Decision{Project: "p", Schema: fmt.Sprint(rand.IntN(1 << 30)), Steps: []schema.DecidedStep{{Hangup: "busy"}}}
		r.end(k, time.Now(), d)
		var got schema.Decision
		s := &r.shards[k[0]%repeatShards]
		if !s.recall(k, &got, time.Now(), time.Hour) || got.Schema != d.Schema {
			t.Fatalf("entry %d is lost or another's: %+v", i, got)
		}
		if s.head-s.tail > uint64(len(s.ring)) {
			t.Fatalf("the ring holds %d of %d bytes", s.head-s.tail, len(s.ring))
		}
	}
	for i := range r.shards {
		held += len(r.shards[i].entries)
	}
	if held > 7*4096/entryHead || held < 7*20 {
		t.Errorf("%d entries are held", held)
	}
}

func TestADecisionIsRememberedWhole(t *testing.T) {
	want := schema.Decision{
		Source: schema.SourceLastGood, Reason: schema.ReasonLoop, Project: "1001", Schema: "26076", Hook: "crm", Next: "cursor",
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
