package console

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// The overview: what needs attention first, then how things go.

// point is one period of a series.
type point struct {
	At       time.Time      `json:"at"`
	Calls    int            `json:"calls"`
	ByReason map[string]int `json:"by_reason"`
	P50MS    float64        `json:"p50_ms"`
	P99MS    float64        `json:"p99_ms"`
}

// hookState is a hook at a glance.
type hookState struct {
	Project     string  `json:"project"`
	Hook        string  `json:"hook"`
	Breaker     string  `json:"breaker"`
	InFlight    int     `json:"in_flight"`
	MaxInFlight int     `json:"max_in_flight"`
	Calls       int     `json:"calls"`
	Failed      int     `json:"failed"`
	P50MS       float64 `json:"p50_ms"`
	P99MS       float64 `json:"p99_ms"`
}

// overviewData is the API's overview.
type overviewData struct {
	At        string `json:"at"`
	Decisions struct {
		PerSecond float64 `json:"per_second"`
		Rates     struct {
			BySource map[string]float64 `json:"by_source"`
			ByReason map[string]float64 `json:"by_reason"`
		} `json:"rates"`
		LastHour int            `json:"last_hour"`
		BySource map[string]int `json:"by_source"`
		ByReason map[string]int `json:"by_reason"`
		P50MS    float64        `json:"p50_ms"`
		P99MS    float64        `json:"p99_ms"`
		PeriodS  float64        `json:"period_s"`
		Series   []point        `json:"series"`
	} `json:"decisions"`
	Hooks struct {
		Total     int         `json:"total"`
		Attention []hookState `json:"attention"`
		Busiest   []hookState `json:"busiest"`
	} `json:"hooks"`
	Deliveries *struct {
		Waiting  int            `json:"waiting"`
		Failed   int            `json:"failed"`
		FailedBy map[string]int `json:"failed_by_project"`
		Disabled []struct {
			Project string `json:"project"`
			Webhook int    `json:"webhook"`
			Since   string `json:"since"`
			Reason  string `json:"reason"`
		} `json:"disabled"`
	} `json:"deliveries"`
}

// overview shows the page. A script follows the stream for the part that changes.
func (v *visit) overview() error {
	q := v.overviewQuery()
	var o overviewData
	if err := v.get("", "/overview", q, &o); err != nil {
		return err
	}
	project, err := v.project()
	if err != nil {
		return err
	}
	data := o.shown()
	data["Only"], data["Stream"] = q.Get("project"), about("/overview/stream", q.Get("project"))
	return v.render(fasthttp.StatusOK, page{Name: "overview", Nav: "overview", Project: project, Data: data})
}

func (v *visit) overviewQuery() url.Values {
	q := url.Values{}
	if project := v.query("project"); project != "" {
		q.Set("project", project)
	}
	return q
}

// overviewStream tells the part of the overview that changes, whenever it has: as the page has it, every
// text in it escaped by the template.
func (v *visit) overviewStream() error {
	var last []byte
	return v.stream("/overview/stream", v.overviewQuery(), "", func(v *visit, data []byte) (any, error) {
		var o overviewData
		if err := json.Unmarshal(data, &o); err != nil {
			return nil, err
		}
		var out bytes.Buffer
		if err := v.pages[v.lang]["overview"].ExecuteTemplate(&out, "now", o.shown()); err != nil || bytes.Equal(out.Bytes(), last) {
			return nil, err
		}
		last = out.Bytes()
		return map[string]string{"html": out.String()}, nil
	})
}

// shown is the overview as its template takes it.
func (o *overviewData) shown() map[string]any {
	d := &o.Decisions
	data := map[string]any{
		"O": o, "Times": timesPlot(d.Series), "Calls": callsPlot(d.Series), "Failed": []share(nil),
		"Sources": shares(d.BySource, d.Rates.BySource), "Reasons": shares(d.ByReason, d.Rates.ByReason),
	}
	if o.Deliveries != nil {
		data["Failed"] = shares(o.Deliveries.FailedBy, nil)
	}
	return data
}

// share is one part of a whole, as a bar of 100, and how many there are a second.
type share struct {
	Name      string
	N         int
	Percent   float64
	PerSecond float64
}

// shares orders counts, the greatest first.
func shares(counts map[string]int, rates map[string]float64) []share {
	total := 0
	for _, n := range counts {
		total += n
	}
	var all []share
	for name, n := range counts {
		all = append(all, share{name, n, 100 * float64(n) / float64(max(1, total)), rates[name]})
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].N != all[j].N {
			return all[i].N > all[j].N
		}
		return all[i].Name < all[j].Name
	})
	return all
}

// hookFigures is how a hook has been answering, nil where that is not known.
func (v *visit) hookFigures(project, id string) map[string]any {
	var report struct {
		hookState
		Minutes  int            `json:"minutes"`
		ByReason map[string]int `json:"by_reason"`
		Series   []point        `json:"series"`
		Failures []object       `json:"failures"`
	}
	if err := v.get(project, "/hooks/"+segment(id)+"/stats", nil, &report); err != nil {
		return nil // the form is worth showing without
	}
	return map[string]any{
		"State": report.hookState, "Minutes": report.Minutes, "Reasons": shares(report.ByReason, nil), "Failures": report.Failures,
		"Times": timesPlot(report.Series), "Calls": callsPlot(report.Series),
	}
}

// plot is lines in a box of 600 by 100, and what its axes say.
type plot struct {
	Lines    []plotLine
	Most     float64 // at the top
	From, To string  // the times at the ends
	Empty    bool
}

type plotLine struct{ Class, Path string }

// timesPlot draws the two quantiles; a period without calls is a gap.
func timesPlot(series []point) plot {
	most := 0.0
	for _, p := range series {
		most = max(most, p.P99MS)
	}
	known := func(p point) bool { return p.Calls > 0 }
	return newPlot(series, most,
		line{"p99", known, func(p point) float64 { return p.P99MS }},
		line{"p50", known, func(p point) float64 { return p.P50MS }})
}

// callsPlot draws the calls of each period, and those that failed.
func callsPlot(series []point) plot {
	most := 0
	for _, p := range series {
		most = max(most, p.Calls)
	}
	always := func(point) bool { return true }
	return newPlot(series, float64(most),
		line{"rate", always, func(p point) float64 { return float64(p.Calls) }},
		line{"failed", always, func(p point) float64 { return float64(failed(p)) }})
}

// failed counts the calls that a period's reasons say went wrong; outside working hours is no fault.
func failed(p point) int {
	return p.Calls - p.ByReason["ok"] - p.ByReason["closed"]
}

type line struct {
	class string
	known func(point) bool
	value func(point) float64
}

const plotWidth, plotHeight = 600.0, 100.0

func newPlot(series []point, most float64, lines ...line) plot {
	p := plot{Most: most, Empty: most == 0}
	if len(series) == 0 {
		return p
	}
	p.From, p.To = series[0].At.UTC().Format(time.RFC3339), series[len(series)-1].At.UTC().Format(time.RFC3339)
	step := plotWidth / float64(max(1, len(series)-1))
	for _, l := range lines {
		var path strings.Builder
		drawing := false
		for i, one := range series {
			if !l.known(one) {
				drawing = false
				continue
			}
			command := "L"
			if !drawing {
				command = "M"
			}
			x, y := float64(i)*step, plotHeight-plotHeight*l.value(one)/max(most, 1e-9)
			at := " " + shortFloat(x) + " " + shortFloat(max(0, y)) + " "
			path.WriteString(command + at)
			if !drawing {
				path.WriteString("L" + at) // a period between two gaps is a dot
			}
			drawing = true
		}
		p.Lines = append(p.Lines, plotLine{l.class, strings.TrimSpace(path.String())})
	}
	return p
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
