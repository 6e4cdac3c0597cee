// Package report turns the measurements of a run into verdicts, tables, plots and pages. It measures
// nothing and knows no process: what it is given is the JSON that a run leaves behind.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Run is everything that one run found.
type Run struct {
	Begun   time.Time     `json:"begun"`
	Took    time.Duration `json:"took_ns"`
	Quick   bool          `json:"quick"` // short rounds: the figures are no more than a hint
	Machine Machine       `json:"machine"`
	// Programs are what was measured, in the order of the tables.
	Programs []Program `json:"programs"`
	Lanes    []*Lane   `json:"lanes"`
	// Values are single measurements by name, "hung.late_p99_ms".
	Values    map[string]float64 `json:"values"`
	Charts    []Chart            `json:"charts"`
	Scenarios []Scenario         `json:"scenarios"`
	Notes     []string           `json:"notes,omitempty"`
}

// Machine is where a run took place.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	OS     string `json:"os"`
}

// Program is something that was measured.
type Program struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Does    string `json:"does"`
	Version string `json:"version"`
}

// Lane is one kind of load on one program, over all rounds.
type Lane struct {
	Load    string   `json:"load"`    // "get", "post", "get-500"
	Program string   `json:"program"` // its name
	Samples []Sample `json:"samples"` // one a round
	// Curve is the latency by percentile over the rounds that count, in milliseconds.
	Curve []Point `json:"curve,omitempty"`
}

// Sample is one round of a lane.
type Sample struct {
	Round    int     `json:"round"`
	CPU      float64 `json:"cpu_us"`      // of the program, per request
	HookCPU  float64 `json:"hook_cpu_us"` // of the simulated webhook, per request
	LoadCPU  float64 `json:"load_cpu_us"` // of the load generator, per request
	Rate     float64 `json:"rate"`        // answers a second
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Answered uint64  `json:"answered"`
	Bad      uint64  `json:"bad"`     // refused or lost
	Foreign  float64 `json:"foreign"` // the share of the machine that others had, the hypervisor among them
	Clean    bool    `json:"clean"`
}

// Point is one of a plot.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Chart is one plot.
type Chart struct {
	ID     string  `json:"id"`
	Title  string  `json:"title"`
	X      Axis    `json:"x"`
	Y      Axis    `json:"y"`
	Lines  []Line  `json:"lines"`
	Events []Event `json:"events,omitempty"`
}

// Axis is one of a chart. Scale is "linear", "log" or "percentile".
type Axis struct {
	Title string `json:"title"`
	Scale string `json:"scale"`
}

// Line is one of a chart.
type Line struct {
	Name   string  `json:"name"`
	Points []Point `json:"points"`
}

// Event is a moment worth a mark.
type Event struct {
	X    float64 `json:"x"`
	Text string  `json:"text"`
}

// Scenario is how one scenario ended.
type Scenario struct {
	Name, About string
	Pass        bool
	Faults      []string // why it did not pass
	Streams     []Outcome
	Before      Holds
	After       Holds
	Hook        map[string]float64 // what the webhooks counted
	HeldUp      time.Duration      // the longest time that the load generator itself was late
	Chart       Chart
}

// Outcome is what came of one stream.
type Outcome struct {
	Name                             string
	Offered, Answered, Refused, Lost uint64
	Reasons                          map[string]uint64
	P50, P90, P99, P999, Max         float64 // ms
}

// Holds is what the service held.
type Holds struct {
	RSS        float64 // MiB
	Goroutines float64
	FDs        float64
}

// Lane returns the lane of a load and a program, made where there is none yet.
func (r *Run) Lane(load, program string) *Lane {
	for _, l := range r.Lanes {
		if l.Load == load && l.Program == program {
			return l
		}
	}
	l := &Lane{Load: load, Program: program}
	r.Lanes = append(r.Lanes, l)
	return l
}

// Find returns the lane of a load and a program, nil where it was not measured.
func (r *Run) Find(load, program string) *Lane {
	for _, l := range r.Lanes {
		if l.Load == load && l.Program == program {
			return l
		}
	}
	return nil
}

// Loads lists the kinds of load in the order in which they were first measured.
func (r *Run) Loads() []string {
	var loads []string
	for _, l := range r.Lanes {
		if !slices.Contains(loads, l.Load) {
			loads = append(loads, l.Load)
		}
	}
	return loads
}

// Settle decides which rounds count, once all are in: those in which every lane of the load was left
// alone by the rest of the machine, or all rounds where fewer than atLeast are so. It then draws the
// latency curves, for which latencies holds a histogram a round and lane.
func (r *Run) Settle(load string, atLeast int, latencies map[*Lane][]*hdrhistogram.Histogram) {
	var lanes []*Lane
	for _, l := range r.Lanes {
		if l.Load == load {
			lanes = append(lanes, l)
		}
	}
	if len(lanes) == 0 {
		return
	}
	clean := make([]bool, len(lanes[0].Samples))
	count := 0
	for i := range clean {
		clean[i] = true
		for _, l := range lanes {
			clean[i] = clean[i] && l.Samples[i].Clean
		}
		if clean[i] {
			count++
		}
	}
	if count < atLeast {
		r.Notes = append(r.Notes, fmt.Sprintf("%s: only %d of %d rounds were left alone by the rest of the machine, and %d are wanted: all rounds were counted", load, count, len(clean), atLeast))
	}
	for _, l := range lanes {
		merged := hdrhistogram.New(int64(time.Microsecond), int64(time.Minute), 3)
		for i := range clean {
			l.Samples[i].Clean = clean[i] || count < atLeast
			if l.Samples[i].Clean {
				merged.Merge(latencies[l][i])
			}
		}
		l.Curve = Curve(merged)
	}
}

// Curve reads a histogram of nanoseconds at the percentiles that are worth drawing: as many as the
// number of values bears. X is the percentile, Y milliseconds.
func Curve(h *hdrhistogram.Histogram) []Point {
	var points []Point
	for _, p := range []float64{0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99} {
		if float64(h.TotalCount())*(100-p)/100 >= 5 || p <= 50 {
			points = append(points, Point{p, ms(time.Duration(h.ValueAtQuantile(p)))})
		}
	}
	return points
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// At reads a curve, NaN-free: 0 where the percentile was not drawn.
func (l *Lane) At(percentile float64) float64 {
	for _, p := range l.Curve {
		if p.X == percentile {
			return p.Y
		}
	}
	return 0
}

// Save writes the run as JSON.
func (r *Run) Save(name string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("write the run: %w", err)
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}

// Load reads what Save has written.
func Load(name string) (*Run, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read a run: %w; `make bench` writes one", err)
	}
	r := &Run{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}
