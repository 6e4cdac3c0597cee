package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"hookswitch/bench/hooksim"
	bench "hookswitch/bench/load"
)

// asker is a PBX and its customer's webhook in a process of their own: what the test itself does meanwhile
// is not charged to the decisions.
type asker struct {
	t    *testing.T
	hook string // URL of the webhook
	in   *json.Encoder
	out  *json.Decoder
}

// askerRole names, in the environment, a process that is an asker.
const askerRole = "HOOKSWITCH_E2E_ASKER"

// asking is what an asker is to do: lookups of a path with a query, at a steady rate, answered with want. A fifth
// as often it asks the webhook itself, of which the service knows nothing: that tells what the machine does to
// whoever asks.
type asking struct {
	Address, Target, Want string
	Rate                  float64 // a second
	For                   time.Duration
}

// asked is what came of it.
type asked struct {
	Offered, Answered uint64
	Worst             string // of what was not answered, for a person
	HeldUp            time.Duration
	// Lookups and Direct are latencies, from when each was due: of the service, and of the webhook itself.
	Lookups, Direct *hdrhistogram.Snapshot
}

// lookups and direct are the latencies of both.
func (a asked) lookups() *hdrhistogram.Histogram { return hdrhistogram.Import(a.Lookups) }
func (a asked) direct() *hdrhistogram.Histogram  { return hdrhistogram.Import(a.Direct) }

// with merges another series of both into a's.
func (a asked) with(b asked) asked {
	lookups, direct := a.lookups(), a.direct()
	lookups.Merge(b.lookups())
	direct.Merge(b.direct())
	a.Lookups, a.Direct = lookups.Export(), direct.Export()
	return a
}

func startAsker(t *testing.T) *asker {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), askerRole+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // by which it ends
		if err := cmd.Wait(); err != nil {
			t.Errorf("the asker: %v", err)
		}
	})
	a := &asker{t: t, in: json.NewEncoder(in), out: json.NewDecoder(out)}
	if err := a.out.Decode(&a.hook); err != nil {
		t.Fatalf("the asker did not begin: %v", err)
	}
	return a
}

// ask has it done, and returns what came of it.
func (a *asker) ask(what asking) (got asked) {
	a.t.Helper()
	if err := a.in.Encode(what); err != nil {
		a.t.Fatal(err)
	}
	if err := a.out.Decode(&got); err != nil {
		a.t.Fatalf("the asker: %v", err)
	}
	return got
}

// runAsker is the whole of an asker's process.
func runAsker() error {
	hook, err := hooksim.New(hooksim.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	defer hook.Close()
	go hook.Serve()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	if err := out.Encode(hook.URL()); err != nil {
		return err
	}
	for {
		var what asking
		if err := in.Decode(&what); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		got, err := what.do(hook.Addr())
		if err != nil {
			return err
		}
		if err := out.Encode(got); err != nil {
			return err
		}
	}
}

func (w asking) do(hook string) (asked, error) {
	often, seldom := bench.Steady(w.Rate, w.For), bench.Steady(w.Rate/5, w.For)
	g, err := bench.Open(
		bench.Stream{Name: "lookups", Addr: w.Address, Template: bench.Get(w.Address, w.Target), Pace: &often, Connections: 64, Want: []byte(w.Want)},
		bench.Stream{Name: "direct", Addr: hook, Template: bench.Get(hook, "/"), Pace: &seldom, Connections: 16},
	)
	if err != nil {
		return asked{}, err
	}
	defer g.Close()
	runtime.GC()
	r := g.Run(w.For, w.For)
	return asked{
		Offered: r[0].Offered, Answered: r[0].Answered, Worst: r[0].Worst, HeldUp: r[0].HeldUp,
		Lookups: r[0].Latency.Export(), Direct: r[1].Latency.Export(),
	}, nil
}

// line is p50, p99, p99.9 and the maximum in milliseconds, in columns.
func line(h *hdrhistogram.Histogram) string {
	var b strings.Builder
	for _, p := range []float64{50, 99, 99.9, 100} {
		fmt.Fprintf(&b, "%10.2f", milliseconds(bench.Percentile(h, p)))
	}
	return b.String()
}

// p99 is the 99th percentile in milliseconds.
func p99(h *hdrhistogram.Histogram) float64 { return milliseconds(bench.Percentile(h, 99)) }
