package report

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// race is a run with rounds of the given costs: by load and program, one number a round, which stands
// for CPU as it is and for a thousandth of the rate.
func race(costs map[string]map[string][]float64, unclean ...int) *Run {
	r := &Run{Values: map[string]float64{}, Programs: []Program{{Name: "hookswitch", Title: "hookswitch"}, {Name: "bare", Title: "bare"}, {Name: "nginx", Title: "nginx"}}}
	for load, programs := range costs {
		latencies := map[*Lane][]*hdrhistogram.Histogram{}
		for program, rounds := range programs {
			l := r.Lane(load, program)
			for i, c := range rounds {
				clean := true
				for _, u := range unclean {
					clean = clean && u != i
				}
				l.Samples = append(l.Samples, Sample{Round: i, CPU: c, Rate: 1000 * c, Clean: clean})
				h := hdrhistogram.New(1000, int64(time.Minute), 3)
				for n := range 1000 {
					_ = h.RecordValue(int64(c * float64(time.Millisecond) * float64(n+1) / 500))
				}
				latencies[l] = append(latencies[l], h)
			}
		}
		r.Settle(load, 2, latencies)
	}
	return r
}

func find(t *testing.T, r *Run, what, of string) Check {
	t.Helper()
	for _, f := range Judge(r) {
		for _, c := range f.Checks {
			if strings.HasPrefix(f.What, what) && strings.Contains(c.Of, of) {
				return c
			}
		}
	}
	t.Fatalf("no figure %q, %q", what, of)
	return Check{}
}

func TestAFigureIsTheMiddleOfTheRoundsRatios(t *testing.T) {
	for _, c := range []struct {
		name    string
		ours    []float64
		bare    []float64
		unclean []int
		value   float64
		verdict string
	}{
		{"level", []float64{20, 22, 24}, []float64{20, 22, 24}, nil, 1, "pass"},
		{"a slow moment that fell on both", []float64{21, 84, 21}, []float64{20, 80, 20}, nil, 1.05, "pass"},
		{"one odd round", []float64{21, 90, 21}, []float64{20, 20, 20}, nil, 1.05, "pass"},
		{"on the limit", []float64{22, 22}, []float64{20, 20}, nil, 1.1, "pass"},
		{"over it", []float64{24, 24}, []float64{20, 20}, nil, 1.2, "short"},
		{"an even number of rounds", []float64{20, 24, 26, 40}, []float64{20, 20, 20, 20}, nil, 1.25, "short"},
		{"a round in which others were busy does not count", []float64{90, 21, 21}, []float64{20, 20, 20}, []int{0}, 1.05, "pass"},
		{"where too few are left, all count", []float64{90, 90, 21}, []float64{20, 20, 20}, []int{0, 1}, 4.5, "short"},
	} {
		r := race(map[string]map[string][]float64{"get": {"hookswitch": c.ours, "bare": c.bare}}, c.unclean...)
		got := find(t, r, "CPU per decision, saturated, GET", "bare")
		if got.Value < c.value-1e-9 || got.Value > c.value+1e-9 || got.Verdict() != c.verdict {
			t.Errorf("%s: got %.3f, %s; want %.3f, %s", c.name, got.Value, got.Verdict(), c.value, c.verdict)
		}
		if noted := len(r.Notes) > 0; noted != (len(c.ours)-len(c.unclean) < 2) {
			t.Errorf("%s: notes %q", c.name, r.Notes)
		}
	}
}

func TestAddedLatencyIsWhatComesOnTopOfTheHooksOwn(t *testing.T) {
	r := race(map[string]map[string][]float64{"get-500": {"direct": {1, 1}, "nginx": {2, 2}, "hookswitch": {1.8, 1.8}}})
	if c := find(t, r, "latency added", "p50"); c.Value < 0.78 || c.Value > 0.82 || c.Verdict() != "pass" {
		t.Errorf("got %.3f, %s; want 0.8 of what nginx adds", c.Value, c.Verdict())
	}
	if c := find(t, race(nil), "latency added", "p50"); c.Verdict() != "not measured" {
		t.Errorf("got %s of nothing; want not measured", c.Verdict())
	}
}

func TestThroughputHasAFloor(t *testing.T) {
	r := race(map[string]map[string][]float64{"get": {"hookswitch": {30, 30}, "nethttp": {11, 11}, "nginx": {30, 30}}})
	if c := find(t, r, "throughput", "net/http"); c.Verdict() != "short" {
		t.Errorf("2.7 times net/http: %s; want short of 3", c.Verdict())
	}
	if c := find(t, r, "throughput", "nginx, plain"); c.Verdict() != "pass" {
		t.Errorf("level with nginx: %s; want pass", c.Verdict())
	}
}

func TestASingleMeasurementIsHeldAgainstItsLimit(t *testing.T) {
	r := race(nil)
	r.Values["hung.late_p99_ms"], r.Values["memory.rss_mib"] = 2.5, 64.1
	for of, want := range map[string]string{"after request_timeout, p99": "pass", "after request_timeout, p99.9": "not measured"} {
		if c := find(t, r, "answer time", of); of == c.Of && c.Verdict() != want {
			t.Errorf("%s: %s; want %s", of, c.Verdict(), want)
		}
	}
	if c := find(t, r, "memory", "RSS"); c.Verdict() != "short" {
		t.Errorf("64.1 MiB: %s; want short", c.Verdict())
	}
}

func TestACurveEndsWhereTooFewValuesBearIt(t *testing.T) {
	h := hdrhistogram.New(1000, int64(time.Minute), 3)
	for n := range 1000 {
		_ = h.RecordValue(int64(n+1) * int64(time.Millisecond))
	}
	curve := Curve(h)
	last := curve[len(curve)-1]
	if last.X != 99.5 || last.Y < 990 || last.Y > 1000 || curve[3].X != 50 || curve[3].Y < 495 || curve[3].Y > 505 {
		t.Errorf("got %v; want it to end at the 99.5th percentile, with the middle at 500 ms", curve)
	}
}

func TestARunIsSavedAndLoaded(t *testing.T) {
	r := race(map[string]map[string][]float64{"get": {"hookswitch": {20, 20}, "bare": {20, 20}}})
	r.Begun = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	r.Charts = []Chart{{ID: "c", Title: "C", Lines: []Line{{"l", []Point{{1, 2}}}}}}
	file := filepath.Join(t.TempDir(), "run.json")
	if err := r.Save(file); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(Judge(got), Judge(r)) || !reflect.DeepEqual(got.Charts, r.Charts) || !got.Begun.Equal(r.Begun) {
		t.Errorf("got %+v; want %+v", got, r)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil {
		t.Error("half a file is taken")
	}
}

func everything() *Run {
	r := race(map[string]map[string][]float64{"get": {"hookswitch": {20, 21}, "bare": {20, 20}, "nginx": {19, 20}},
		"get-500": {"hookswitch": {2, 2}, "direct": {1, 1}, "nginx": {2, 2}}})
	r.Machine = Machine{CPU: `<b>&"CPU"`, Cores: 2}
	r.Values["reload.took_ms"] = 150
	line := Line{"hookswitch", []Point{{0, 0.1}, {50, 1}, {99, 20}, {99.9, 900}}}
	for _, scale := range []string{"linear", "log", "percentile"} {
		r.Charts = append(r.Charts, Chart{ID: scale, Title: "<i>&" + scale, X: Axis{"x", scale}, Y: Axis{"ms", "log"}, Lines: []Line{line, line, {"nothing", nil}}, Events: []Event{{1, "<reload>"}}})
	}
	r.Charts = append(r.Charts, Chart{ID: "empty"})
	r.Scenarios = []Scenario{{Name: "hung", About: "It <hangs>.", Faults: []string{"lost & gone"}, Streams: []Outcome{{Name: "a", Offered: 5, Lost: 1}, {Name: "b"}}, Chart: r.Charts[0]}}
	return r
}

func TestEveryPictureIsWholeAndEscaped(t *testing.T) {
	files, err := Files(everything())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"linear.svg", "log.svg", "percentile.svg", "empty.svg", "cpu.svg"} {
		d := xml.NewDecoder(strings.NewReader(string(files[name])))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, files[name])
				break
			}
			if e, ok := token.(xml.StartElement); ok && (e.Name.Local == "i" || e.Name.Local == "reload") {
				t.Errorf("%s: a text became an element", name)
			}
		}
		if strings.Contains(string(files[name]), "NaN") || strings.Contains(string(files[name]), "Inf") {
			t.Errorf("%s: a place that is no number\n%s", name, files[name])
		}
	}
}

func TestThePageHoldsEverythingAndFetchesNothing(t *testing.T) {
	files, err := Files(everything())
	if err != nil {
		t.Fatal(err)
	}
	page := string(files["index.html"])
	for _, want := range []string{"CPU per decision, saturated, GET", "It &lt;hangs&gt;.", "lost &amp; gone", "reload.took_ms", "<svg", `class="pass"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, no := range []string{"src=", "href=", "<b>", "url("} {
		if strings.Contains(page, no) {
			t.Errorf("the page holds %q", no)
		}
	}
	if !strings.Contains(string(files["table.md"]), "|---|") || !strings.Contains(Terminal(everything()), "not measured") {
		t.Error("a table is missing")
	}
}

func TestTicksAreRoundAndAroundTheValues(t *testing.T) {
	for _, c := range []struct {
		kind   string
		values []float64
		want   []float64
	}{
		{"linear", []float64{3, 37}, []float64{0, 5, 10, 15, 20, 25, 30, 35, 40}},
		{"log", []float64{0.3, 40}, []float64{0.2, 0.5, 1, 2, 5, 10, 20, 50}},
		{"log", []float64{1, 100000}, []float64{1, 10, 100, 1000, 10000, 100000}},
		{"percentile", []float64{0, 99.9}, []float64{0, 50, 90, 99, 99.9}},
	} {
		got := newScale(c.kind, c.values, 0, 100).ticks
		if len(got) != len(c.want) {
			t.Errorf("%s %v: got %v; want %v", c.kind, c.values, got, c.want)
			continue
		}
		for i := range got {
			if d := got[i] - c.want[i]; d > 1e-9 || d < -1e-9 {
				t.Errorf("%s %v: got %v; want %v", c.kind, c.values, got, c.want)
			}
		}
	}
}

func TestTwoRunsAreHeldSideBySide(t *testing.T) {
	old, now := everything(), everything()
	now.Values["reload.took_ms"] = 75
	if text := Difference(old, now); !strings.Contains(text, "-50.0 %") || !strings.Contains(text, "reload.took_ms") {
		t.Errorf("got\n%s", text)
	}
	text := Builds(old, "bare", "hookswitch")
	if !strings.Contains(text, "1.025") || !strings.Contains(text, "1.000 to 1.050") {
		t.Errorf("got\n%s\nwant the middle of 20/20 and 21/20", text)
	}
}
