package report

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// table is rows of cells, the first its head.
type table [][]string

// text aligns a table for a terminal.
func (t table) text() string {
	var widths []int
	for _, row := range t {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range t {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// markdown writes a table for a README.
func (t table) markdown() string {
	var b strings.Builder
	for i, row := range t {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}

// figureTable is the design's figures with this run's numbers.
func figureTable(r *Run) table {
	t := table{{"figure", "goal", "this run", "verdict", "rounds"}}
	for _, f := range Judge(r) {
		for i, c := range f.Checks {
			what := f.What
			if i > 0 {
				what = ""
			}
			goal := "at most " + number(c.Limit)
			if c.AtLeast {
				goal = "at least " + number(c.Limit)
			}
			got := "-"
			if c.Measured {
				got = fmt.Sprintf("%.2f", c.Value)
				if c.Unit == "MiB" || c.Unit == "" && c.Value == float64(int(c.Value)) {
					got = number(c.Value)
				}
			}
			t = append(t, []string{what, strings.TrimSpace(goal+" "+c.Unit) + " " + c.Of, got, c.Verdict(), c.Spread})
		}
	}
	return t
}

// programTable is what each program of the race costs.
func programTable(r *Run) table {
	t := table{{"program", "decisions/s", "CPU µs, GET", "CPU µs, POST", "CPU µs at 500/s", "p50 ms added", "p99 ms added", "CPU µs, a connection each"}}
	base := r.Find("get-500", "direct")
	for _, p := range r.Programs {
		row := []string{p.Title}
		for _, of := range []struct {
			load string
			of   func(Sample) float64
			form string
		}{{"get", rate, "%.0f"}, {"get", cpu, "%.1f"}, {"post", cpu, "%.1f"}, {"get-500", cpu, "%.0f"}} {
			row = append(row, cell(r.Find(of.load, p.Name), of.form, func(l *Lane) float64 { return l.Median(of.of) }))
		}
		for _, percentile := range []float64{50, 99} {
			row = append(row, cell(r.Find("get-500", p.Name), "%.3f", func(l *Lane) float64 {
				if base == nil || base == l {
					return l.At(percentile)
				}
				return l.At(percentile) - base.At(percentile)
			}))
		}
		row = append(row, cell(r.Find("get-connection", p.Name), "%.0f", func(l *Lane) float64 { return l.Median(cpu) }))
		t = append(t, row)
	}
	return t
}

func cell(l *Lane, form string, of func(*Lane) float64) string {
	if l == nil {
		return ""
	}
	return fmt.Sprintf(form, of(l))
}

// loadTable says what the harness itself cost beside the fastest program of each load, so that a
// reader sees whether the webhook and the generator, which share a core, held the program back.
func loadTable(r *Run) table {
	t := table{{"load", "fastest program", "answers/s", "its CPU µs", "webhook, CPU µs", "generator, CPU µs", "room on their core, answers/s"}}
	for _, load := range r.Loads() {
		var best *Lane
		for _, l := range r.Lanes {
			if l.Load == load && l.Program != "direct" && (best == nil || l.Median(rate) > best.Median(rate)) {
				best = l
			}
		}
		hook, generator := best.Median(func(s Sample) float64 { return s.HookCPU }), best.Median(func(s Sample) float64 { return s.LoadCPU })
		t = append(t, []string{load, best.Program, fmt.Sprintf("%.0f", best.Median(rate)), fmt.Sprintf("%.1f", best.Median(cpu)),
			fmt.Sprintf("%.1f", hook), fmt.Sprintf("%.1f", generator), fmt.Sprintf("%.0f", 1e6/max(hook+generator, 1))})
	}
	return t
}

func scenarioTable(r *Run) table {
	t := table{{"scenario", "offered", "answered", "lost", "p50 ms", "p99 ms", "slowest", "RSS MiB", "goroutines", "open files", "verdict"}}
	for _, s := range r.Scenarios {
		verdict := "pass"
		if !s.Pass {
			verdict = "short: " + strings.Join(s.Faults, "; ")
		}
		for i, o := range s.Streams {
			name, held, goroutines, fds, v := s.Name, span(s.Before.RSS, s.After.RSS), span(s.Before.Goroutines, s.After.Goroutines), span(s.Before.FDs, s.After.FDs), verdict
			if i > 0 {
				name, held, goroutines, fds, v = "", "", "", "", ""
			}
			if len(s.Streams) > 1 {
				name = strings.TrimSpace(name + " (" + o.Name + ")")
			}
			t = append(t, []string{name, fmt.Sprint(o.Offered), fmt.Sprint(o.Answered), fmt.Sprint(o.Lost + o.Refused),
				fmt.Sprintf("%.2f", o.P50), fmt.Sprintf("%.2f", o.P99), fmt.Sprintf("%.0f", o.Max), held, goroutines, fds, v})
		}
	}
	return t
}

func span(before, after float64) string { return fmt.Sprintf("%.0f to %.0f", before, after) }

// ScenarioLine tells in one line how a scenario ended.
func ScenarioLine(s Scenario) string {
	var offered, lost uint64
	for _, o := range s.Streams {
		offered += o.Offered
		lost += o.Lost + o.Refused
	}
	line := fmt.Sprintf("%d offered, %d lost, p99 %.2f ms, RSS %s MiB", offered, lost, s.Streams[0].P99, span(s.Before.RSS, s.After.RSS))
	if !s.Pass {
		line += "; short: " + strings.Join(s.Faults, "; ")
	}
	return line
}
