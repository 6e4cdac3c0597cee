package main

import (
	"time"

	"hookswitch/bench/load"
	"hookswitch/bench/report"
)

// latencyChart draws the answer times of every program under one load.
func latencyChart(run *report.Run, kind, title string) report.Chart {
	c := report.Chart{ID: "latency-" + kind, Title: title,
		X: report.Axis{Title: "percentile of the calls", Scale: "percentile"}, Y: report.Axis{Title: "ms", Scale: "log"}}
	for _, p := range run.Programs {
		if l := run.Find(kind, p.Name); l != nil {
			c.Lines = append(c.Lines, report.Line{Name: p.Title, Points: l.Curve})
		}
	}
	return c
}

// timeChart draws a run over time, and what happened in it.
func timeChart(id, title string, r load.Result, events []report.Event) report.Chart {
	c := report.Chart{ID: id, Title: title, X: report.Axis{Title: "seconds", Scale: "linear"}, Y: report.Axis{Title: "ms", Scale: "log"}, Events: events}
	line := func(name string, of func(load.Bucket) time.Duration) report.Line {
		l := report.Line{Name: name}
		for _, b := range coarser(r.Timeline) {
			if b.Count > 0 {
				l.Points = append(l.Points, report.Point{X: b.From.Seconds(), Y: ms(of(b))})
			}
		}
		return l
	}
	c.Lines = []report.Line{
		line("p50", func(b load.Bucket) time.Duration { return b.P50 }),
		line("p99", func(b load.Bucket) time.Duration { return b.P99 }),
		line("slowest", func(b load.Bucket) time.Duration { return b.Max }),
	}
	return c
}

// coarser joins buckets until there are few enough to draw, keeping the worst of each.
func coarser(line []load.Bucket) []load.Bucket {
	const most = 150
	n := (len(line) + most - 1) / most
	if n <= 1 {
		return line
	}
	var out []load.Bucket
	for i := 0; i < len(line); i += n {
		b := line[i]
		for _, next := range line[i+1 : min(i+n, len(line))] {
			b.Count += next.Count
			b.P50, b.P99, b.Max = max(b.P50, next.P50), max(b.P99, next.P99), max(b.Max, next.Max)
		}
		out = append(out, b)
	}
	return out
}
