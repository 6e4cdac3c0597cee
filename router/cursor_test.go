package router

import (
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

const cursorConfig = `
continuation: {key: akeyofsixteencharacters, max: 2}
projects:
  - id: p
    default_schema: "1"
    numbers: [{number: "380442223344", schema: s}]
    schemas:
      - {id: "1", name: D, steps: [{dial: ["380440000001"]}]}
      - {id: s, name: S, steps: [{dial: ["380440000002"]}, {hook: a}, {dial: ["380440000003"]}, {hook: a}]}
      - {id: t, name: T, steps: [{dial: ["380440000009"]}, {hook: b}]}
    hooks: [{id: a, url: "http://crm.example/a"}, {id: b, url: "http://crm.example/b"}]
`

func TestACursorGoesOnWhereTheCallStopped(t *testing.T) {
	cursorRig := func(t *testing.T) *rig {
		return newRig(t, cursorConfig)
	}
	const callee = "380442223344"
	resume := func(g *rig, text, callid string) *schema.Decision {
		call := schema.Call{At: time.Now(), Cursor: text}
		call.SetNamed([]byte("callee"), []byte(callee))
		call.SetNamed([]byte("callid"), []byte(callid))
		d := &schema.Decision{}
		g.Decide(&call, d)
		return d
	}
	const fallback = "fallback bad_cursor schema=1 hook= | dial 380440000001 all 30s"

	t.Run("the hook after a dial step is asked only then", func(t *testing.T) {
		g := cursorRig(t)
		d := g.ask(callee)
		if got, want := summary(d), "schema ok schema=s hook= | dial 380440000002 all 30s"; got != want || d.Next == "" {
			t.Fatalf("got %s next=%q, want %s and a cursor", got, d.Next, want)
		}
		if g.hooks["a"].asked.Load() != 0 {
			t.Error("the hook was asked before anything rang")
		}
		g.hooks["a"].set(gives(t, "380441111111"))
		if got, want := summary(resume(g, d.Next, "c1")), "hook ok schema= hook=a | dial 380441111111 all 1m30s"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("it counts, and ends in the fallback without another", func(t *testing.T) {
		g := cursorRig(t)
		g.hooks["a"].set(names("t"))
		g.hooks["b"].set(names("s"))
		d := g.ask(callee)
		for i := range 2 {
			if d = resume(g, d.Next, "c1"); d.Next == "" {
				t.Fatalf("continuation %d: %s, and no cursor", i+1, summary(d))
			}
		}
		if d = resume(g, d.Next, "c1"); summary(d) != fallback || d.Next != "" {
			t.Errorf("the third: %s next=%q", summary(d), d.Next)
		}
	})
	t.Run("the rest of the scheme follows when the hook fails", func(t *testing.T) {
		g := cursorRig(t)
		d := resume(g, g.ask(callee).Next, "c1")
		if got, want := summary(d), "fallback timeout schema=s hook=a | dial 380440000003 all 30s"; got != want || d.Next == "" {
			t.Errorf("got %s next=%q, want %s and a cursor", got, d.Next, want)
		}
	})
	t.Run("another instance with the key goes on, one without does not", func(t *testing.T) {
		next := cursorRig(t).ask(callee).Next
		other := cursorRig(t)
		other.hooks["a"].set(gives(t, "380441111111"))
		if d := resume(other, next, "c1"); d.Source != schema.SourceHook {
			t.Errorf("the same key: %s", summary(d))
		}
		stranger := newRig(t, strings.Replace(cursorConfig, "akeyofsixteencharacters", "anotherkeyofthatlength", 1))
		if got := summary(resume(stranger, next, "c1")); got != fallback {
			t.Errorf("another key: %s", got)
		}
	})
	t.Run("it is bound to its call", func(t *testing.T) {
		g := cursorRig(t)
		next := g.ask(callee).Next
		if got := summary(resume(g, next, "another call")); got != fallback {
			t.Errorf("got %s", got)
		}
	})
	t.Run("every changed character makes it bad", func(t *testing.T) {
		g := cursorRig(t)
		next := g.ask(callee).Next
		if len(next) > maxCursor {
			t.Errorf("%d characters; want at most %d", len(next), maxCursor)
		}
		for i := range next {
			c := byte('A')
			if next[i] == 'A' {
				c = 'B'
			}
			if got := summary(resume(g, next[:i]+string(c)+next[i+1:], "c1")); got != fallback {
				t.Fatalf("with character %d changed: %s", i, got)
			}
		}
		for _, text := range []string{"x", "====", next + "A", next[1:], strings.Repeat("A", 10000), "é"} {
			if got := summary(resume(g, text, "c1")); got != fallback {
				t.Fatalf("%.20q: %s", text, got)
			}
		}
	})
	t.Run("it expires", func(t *testing.T) {
		k := &cursors{key: []byte("k"), expires: time.Minute, most: 5}
		var call schema.Call
		now := time.Now()
		text := k.text(cursor{project: "p", scheme: "s"}, &call, now)
		if _, err := k.parse(text, &call, now.Add(59*time.Second)); err != nil {
			t.Error(err)
		}
		if _, err := k.parse(text, &call, now.Add(62*time.Second)); err == nil {
			t.Error("good after its time")
		}
	})
	t.Run("a place that is gone from the configuration is bad", func(t *testing.T) {
		g := cursorRig(t)
		next := g.ask(callee).Next
		g.load(t, `
continuation: {key: akeyofsixteencharacters}
projects:
  - {id: p, default_schema: "1", numbers: [{number: "380442223344", schema: "1"}], schemas: [{id: "1", name: D, steps: [{dial: ["380440000001"]}]}]}`)
		if got := summary(resume(g, next, "c1")); got != fallback {
			t.Errorf("got %s", got)
		}
	})
	t.Run("ids of the greatest length fit", func(t *testing.T) {
		k := &cursors{key: []byte("k"), expires: time.Minute}
		var call schema.Call
		long := strings.Repeat("x", 64)
		text := k.text(cursor{project: long, scheme: long, step: 255, continued: 255}, &call, time.Now())
		if c, err := k.parse(text, &call, time.Now()); err != nil || c.project != long || c.scheme != long || c.step != 255 || len(text) > maxCursor {
			t.Errorf("%v %v, %d characters", c, err, len(text))
		}
	})
}

func TestABadCursorEndsTheCallsContinuation(t *testing.T) {
	g := newRig(t, strings.Replace(cursorConfig, `{id: "1", name: D, steps: [{dial: ["380440000001"]}]}`,
		`{id: "1", name: D, steps: [{dial: ["380440000001"]}, {dial: ["380440000005"]}]}`, 1))
	ask := func(text string) *schema.Decision {
		call := schema.Call{At: time.Now(), Cursor: text, OneStep: true}
		call.SetNamed([]byte("callee"), []byte("380442223344"))
		d := &schema.Decision{}
		g.Decide(&call, d)
		return d
	}
	if d := ask("forged"); d.Reason != schema.ReasonBadCursor || d.Next != "" || len(d.Steps) == 0 {
		t.Errorf("%s next=%q; want a fallback without a cursor", summary(d), d.Next)
	}
	first := ask("")
	if len(first.Steps) != 1 || first.Next == "" {
		t.Fatalf("a PBX that does one step got %s next=%q", summary(first), first.Next)
	}
}
