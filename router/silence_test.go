package router

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// Found by an audit: default schemes that the loader took for dependable, and that gave the caller
// nothing when they were walked.
func TestAFallbackThatTheLoaderAcceptsGivesTheCallerSomething(t *testing.T) {
	const head = "projects:\n  - id: p\n    default_schema: d\n    numbers: [{number: \"380442223344\", schema: d}]\n" +
		"    hooks: [{id: crm, url: \"http://crm.example/\"}]\n    schemas:\n"
	t.Run("a schema step whose only hook fails leaves the call to the next step", func(t *testing.T) {
		g := newRig(t, head+`
      - {id: d, steps: [{schema: ask}, {dial: ["380440000001"]}]}
      - {id: ask, steps: [{hook: crm}]}
`)
		if got, want := summary(g.ask("380442223344")), "fallback timeout schema=d hook=crm | dial 380440000001 all 30s"; got != want {
			t.Errorf("\ngot  %s\nwant %s", got, want)
		}
		if got, want := summary(g.ask("380442229999", "project=p")), "fallback unknown_number schema=d hook= | dial 380440000001 all 30s"; got != want {
			t.Errorf("\ngot  %s\nwant %s", got, want)
		}
	})
	t.Run("a schema step to one that is closed leaves the call to the next step", func(t *testing.T) {
		g := newRig(t, head+`
      - {id: d, steps: [{dial: ["380440000009"]}]}
      - {id: s, steps: [{schema: never}, {dial: ["380440000001"]}]}
      - {id: never, hours: {open: ["mon 00:00-00:01"]}, steps: [{dial: ["380440000002"]}]}
`)
		if got, want := summary(g.ask("380442223344", "schema=s")), "fallback closed schema=s hook= | dial 380440000001 all 30s"; got != want {
			t.Errorf("\ngot  %s\nwant %s", got, want)
		}
	})
	t.Run("a chain of schemes is walked to its end, or refused by the loader", func(t *testing.T) {
		for length, sound := range map[int]bool{schema.MaxSchemeChain: true, schema.MaxSchemeChain + 1: false} {
			config := head + "      - {id: d, steps: [{schema: c2}]}\n"
			for i := 2; i < length; i++ {
				config += fmt.Sprintf("      - {id: c%d, steps: [{schema: c%d}]}\n", i, i+1)
			}
			config += fmt.Sprintf("      - {id: c%d, steps: [{dial: [\"380440000001\"]}]}\n", length)
			if _, err := schema.Load("test.yaml", []byte(config), schema.LoadOptions{}); (err == nil) != sound {
				t.Fatalf("%d schemes in a row: %v", length, err)
			}
			if !sound {
				continue
			}
			if d := newRig(t, config).ask("380442223344"); d.NotFound || d.Reason != schema.ReasonOK {
				t.Errorf("%d schemes in a row: %s", length, summary(d))
			}
		}
	})
}

// TestNoConfigurationAndNoHookMakeACallerHearSilence walks random configurations, as far as the
// loader accepts them, with hooks that answer at random, through all their continuations: each
// decision has steps, and the walk comes to an end.
func TestNoConfigurationAndNoHookMakeACallerHearSilence(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	loaded := 0
	for range 3000 {
		text := randomConfig(dice)
		cfg, err := schema.Load("random.yaml", []byte(text), schema.LoadOptions{})
		if err != nil {
			continue
		}
		loaded++
		g := newRig(t, "projects: []")
		if err := g.Load(cfg); err != nil {
			t.Fatal(err)
		}
		for _, h := range g.hooks {
			h.set([]func(*schema.Answer){
				fails(schema.ReasonTimeout), names(fmt.Sprint("s", dice.IntN(5))), names("nowhere"),
				gives(t, "380441111111"), gives(t, "380442223344"), gives(t, "nobody"), func(*schema.Answer) { panic("a fault") },
			}[dice.IntN(7)])
		}
		call := schema.Call{OneStep: dice.IntN(2) == 0}
		for i := range 10 {
			call.At = time.Now()
			call.SetNamed([]byte("callee"), []byte("380442223344"))
			call.SetNamed([]byte("callid"), []byte("c1"))
			d := &schema.Decision{}
			g.Decide(&call, d)
			if d.NotFound || len(d.Steps) == 0 {
				t.Fatalf("%s\nafter %d continuations: %s", text, i, summary(d))
			}
			if call.Cursor = strings.Clone(d.Next); call.Cursor == "" {
				break
			}
			if i == 9 {
				t.Fatalf("%s\ncontinued without end", text)
			}
		}
		g.Close()
	}
	if loaded < 300 {
		t.Errorf("only %d configurations were sound", loaded)
	}
}

// randomConfig writes a project of five schemes, s0 being its default, and two hooks.
func randomConfig(dice *rand.Rand) string {
	step := func() string {
		return []string{
			`{dial: ["380440000001"]}`, `{dial: ["380440000001", "380440000002"], strategy: in_order}`, "{hook: a}", "{hook: b}",
			fmt.Sprintf("{schema: s%d}", dice.IntN(5)), `{playback: hello.wav}`, `{voicemail: "1"}`, `{hangup: busy}`,
		}[dice.IntN(8)]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "projects:\n  - id: p\n    default_schema: s0\n    numbers: [{number: \"380442223344\", schema: s%d}]\n    schemas:\n", dice.IntN(5))
	for i := range 5 {
		fmt.Fprintf(&b, "      - id: s%d\n", i)
		switch dice.IntN(6) {
		case 0:
			b.WriteString("        hours: {open: [\"mon 00:00-00:01\"]}\n")
		case 1:
			fmt.Fprintf(&b, "        hours: {open: [\"mon 00:00-00:01\"], closed_schema: s%d}\n", dice.IntN(5))
		}
		steps := []string{step()}
		for dice.IntN(3) > 0 {
			steps = append(steps, step())
		}
		fmt.Fprintf(&b, "        steps: [%s]\n", strings.Join(steps, ", "))
	}
	fmt.Fprintf(&b, "    hooks: [{id: a, url: \"http://a.example/\", on_failure: s%d}, {id: b, url: \"http://b.example/\", last_good: 1m}]\n", dice.IntN(5))
	return b.String()
}
