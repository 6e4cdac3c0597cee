package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hookswitch/bench/load"
	"hookswitch/bench/meter"
	"hookswitch/bench/report"
)

func TestEveryScenarioOfOursCanBePlayed(t *testing.T) {
	files, err := fs.ReadDir(scenarioFiles, "scenarios")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		text, err := scenarioFiles.ReadFile("scenarios/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		s, err := readScenario(text)
		if err != nil {
			t.Errorf("%s: %v", f.Name(), err)
			continue
		}
		streams, d := s.streams("127.0.0.1:80")
		if d < 5*time.Second || len(streams) == 0 || s.About == "" || !strings.HasSuffix(strings.TrimSuffix(f.Name(), ".yaml"), s.Name) {
			t.Errorf("%s: %d streams for %v, about %q", f.Name(), len(streams), d, s.About)
		}
		for _, e := range s.Events {
			if e.At >= d {
				t.Errorf("%s: an event at %v comes after the end", f.Name(), e.At)
			}
		}
		names = append(names, s.Name)
	}
	for _, want := range []string{"healthy", "slow-tail", "one-percent-errors", "hung", "flapping", "hung-beside-healthy",
		"thundering-reconnect", "reload-under-load", "thousand-projects", "fifty-thousand-numbers"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no scenario %s", want)
		}
	}
}

func TestAFaultyScenarioIsRefused(t *testing.T) {
	const sound = "name: a\nconfig: {projects: 1, hooks: 1, numbers: 1}\nwebhooks: [{}]\nstreams: [{name: s, connections: 1}]\n"
	if _, err := readScenario([]byte(sound)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"an unknown key":                sound + "speed: 3\n",
		"no streams":                    strings.Replace(sound, "streams", "webhooks", 1),
		"fewer hooks than projects":     strings.Replace(sound, "projects: 1", "projects: 2", 1),
		"a webhook that there isn't":    sound + "events: [{at: 1s, webhook: 1}]\n",
		"events that are out of order":  sound + "events: [{at: 2s}, {at: 1s}]\n",
		"a time without a unit of ours": sound + "events: [{at: soon}]\n",
	} {
		if _, err := readScenario([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestAScenarioIsJudgedByItsEnd(t *testing.T) {
	result := func(lost uint64, ok uint64) []load.Result {
		r := load.Result{Name: "calls", Offered: 100, Answered: 100 - lost, Lost: lost, Latency: load.NewHistogram(), Reasons: map[string]uint64{"ok": ok, "timeout": 100 - lost - ok}}
		return []load.Result{r}
	}
	for _, c := range []struct {
		name    string
		results []load.Result
		after   report.Holds
		hurried bool
		want    string
	}{
		{"all well", result(0, 100), report.Holds{RSS: 20, Goroutines: 10, FDs: 10}, false, ""},
		{"one call lost", result(1, 99), report.Holds{}, false, "1 of 100 calls got nothing"},
		{"too few answers of the hook's", result(0, 80), report.Holds{}, false, "0.800 of the answers are ok"},
		{"memory that stays", result(0, 100), report.Holds{RSS: 50}, false, "30 MiB of RSS more"},
		{"goroutines that stay", result(0, 100), report.Holds{Goroutines: 100}, false, "90 goroutines more"},
		{"open files that stay", result(0, 100), report.Holds{FDs: 100}, false, "90 open files more"},
		{"too short to tell", result(0, 100), report.Holds{FDs: 100}, true, ""},
	} {
		out := report.Scenario{Before: report.Holds{RSS: 20, Goroutines: 10, FDs: 10}, After: c.after}
		judge(&out, scenario{Name: "n", Least: map[string]float64{"ok": 0.9}, MoreMiB: 24}, c.results, c.hurried)
		got := strings.Join(out.Faults, "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || out.Pass != (c.want == "") {
			t.Errorf("%s: got %q, pass %v; want %q", c.name, got, out.Pass, c.want)
		}
	}
}

func TestASampleCountsCostsPerAnswer(t *testing.T) {
	used := func(service, hook, self time.Duration) observation {
		o := observation{service: meter.Usage{CPU: service}, hook: meter.Usage{CPU: hook}, self: meter.Usage{CPU: self}}
		o.machine.Busy = service + hook + self
		return o
	}
	at := time.Now()
	for _, c := range []struct {
		name      string
		stolen    time.Duration
		bad       uint64
		heldUp    time.Duration
		foreign   float64
		wantClean bool
	}{
		{"left alone", 0, 0, time.Millisecond, 0, true},
		{"a busy neighbour", 100 * time.Millisecond, 0, 0, 0.1, false},
		{"an answer that was none", 0, 1, 0, 0, false},
		{"a generator that was held up", 0, 0, time.Second, 0, false},
	} {
		before, after := used(time.Second, time.Second+1, time.Second), used(2*time.Second, 1500*time.Millisecond+1, 1250*time.Millisecond)
		before.at, after.at = at, at.Add(time.Second)
		after.machine.Busy += c.stolen
		r := load.Result{Answered: 50000, Lost: c.bad, HeldUp: c.heldUp, Latency: load.NewHistogram()}
		s := after.since(before, r)
		if s.CPU != 20 || s.HookCPU != 10 || s.LoadCPU != 5 || s.Rate != 50000 || s.Clean != c.wantClean || s.Foreign < c.foreign-0.001 || s.Foreign > c.foreign+0.001 {
			t.Errorf("%s: got %+v", c.name, s)
		}
	}
}

func TestReloadTimesComeFromTheLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	text := `{"level":"info","msg":"serving"}
{"level":"info","msg":"reloaded","cause":"SIGHUP","table":2,"took_ms":120.5}
not JSON, though it says reloaded
{"level":"error","msg":"reload refused","took_ms":1}
{"level":"info","msg":"reloaded","table":3,"took_ms":99}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := reloadTimes(file); err != nil || !slices.Equal(got, []float64{120.5, 99}) {
		t.Errorf("got %v, %v; want 120.5 and 99", got, err)
	}
}

func TestAReloadIsJudgedByWhatItHeldUp(t *testing.T) {
	line := make([]load.Bucket, 300) // three seconds in steps of 10 ms, reloads at one and two seconds
	for i := range line {
		line[i] = load.Bucket{From: time.Duration(i) * 10 * time.Millisecond, Count: 10, P50: time.Millisecond, Max: 2 * time.Millisecond}
	}
	line[50].Max = 80 * time.Millisecond                   // before the first
	line[105].Max = 6 * time.Millisecond                   // during it
	line[175].Max = 90 * time.Millisecond                  // long after it
	line[201] = load.Bucket{From: 2010 * time.Millisecond} // nothing answered
	var c reloadCost
	c.judge(line, []float64{100, 80}, time.Second)
	if c.took != 100 || c.quiet < 0.99 || c.quiet > 1.01 || c.worst < 5.9 || c.worst > 6.1 {
		t.Errorf("got %+v; want 100 ms to take, 6 ms at worst, 1 ms at other times", c)
	}
}

func TestCoarserKeepsTheWorst(t *testing.T) {
	line := make([]load.Bucket, 1000)
	for i := range line {
		line[i] = load.Bucket{From: time.Duration(i), Count: 1, Max: time.Duration(i % 7)}
	}
	line[501].Max = time.Second
	got, count, worst := coarser(line), int64(0), time.Duration(0)
	for _, b := range got {
		count, worst = count+b.Count, max(worst, b.Max)
	}
	if len(got) > 150 || count != 1000 || worst != time.Second {
		t.Errorf("got %d steps with %d answers, the slowest %v", len(got), count, worst)
	}
}
