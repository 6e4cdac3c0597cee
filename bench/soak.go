package main

import (
	"fmt"
	"time"

	"hookswitch/bench/load"
	"hookswitch/bench/peers"
	"hookswitch/bench/report"
)

// soak runs the service at four fifths of its capacity for five minutes, and looks for growth.
func soak(b *bed, run *report.Run, binary string) error {
	h, err := b.startHook("hook-soak")
	if err != nil {
		return err
	}
	s, err := b.serve("soak", binary, peers.Config{Projects: 10, Hooks: 100, Numbers: 1000, HookAddrs: []string{h.addr}}, serviceCore)
	if err != nil {
		return err
	}
	stream := question("get", report.Ours, s.Addr, connections)
	stream.Callee = load.Uniform(peers.FirstNumber(), 1000, 1)
	capacity, err := ask(5*time.Second, stream)
	if err != nil {
		return err
	}
	rate := 0.8 * float64(capacity[0].Answered) / 5
	d := pick(b, 5*time.Minute, 10*time.Second)
	pace := load.Steady(rate, d)
	stream.Pace, stream.Connections, stream.Reasons = &pace, 256, true
	say("   soak: %.0f decisions/s for %v", rate, d)
	done := make(chan []report.Holds)
	stop := make(chan struct{})
	go func() { done <- watchHolds(s, d/60, stop) }()
	results, err := ask(d, stream)
	close(stop)
	held := <-done
	if err != nil {
		return err
	}
	r := results[0]
	run.Values["soak.rate"], run.Values["soak.lost"] = rate, float64(r.Lost+r.Refused)
	if len(held) < 6 {
		return fmt.Errorf("the service could be looked at %d times only", len(held))
	}
	// The first fifth is the warming up; then the last fifth is held against the second.
	fifth := len(held) / 5
	early, late := middle(held[fifth:2*fifth]), middle(held[len(held)-fifth:])
	run.Values["soak.rss_early_mib"], run.Values["soak.rss_late_mib"] = early.RSS, late.RSS
	run.Values["soak.goroutines_early"], run.Values["soak.goroutines_late"] = early.Goroutines, late.Goroutines
	run.Values["soak.fds_early"], run.Values["soak.fds_late"] = early.FDs, late.FDs
	run.Charts = append(run.Charts, timeChart("soak", "Soak at 80 % of capacity", r, nil), holdsChart(held, d/60))
	say("   soak: RSS %.1f to %.1f MiB, goroutines %.0f to %.0f, open files %.0f to %.0f, %d lost",
		early.RSS, late.RSS, early.Goroutines, late.Goroutines, early.FDs, late.FDs, r.Lost+r.Refused)
	return nil
}

// watchHolds looks at what the service holds, again and again until stop is closed.
func watchHolds(s *peers.Running, every time.Duration, stop <-chan struct{}) (held []report.Holds) {
	for {
		select {
		case <-stop:
			return held
		case <-time.After(every):
			if now, err := holds(s); err == nil {
				held = append(held, now)
			}
		}
	}
}

// middle is the average of several looks.
func middle(held []report.Holds) (m report.Holds) {
	n := float64(len(held))
	for _, h := range held {
		m.RSS += h.RSS / n
		m.Goroutines += h.Goroutines / n
		m.FDs += h.FDs / n
	}
	return m
}

func holdsChart(held []report.Holds, every time.Duration) report.Chart {
	c := report.Chart{ID: "soak-holds", Title: "What the service holds during the soak",
		X: report.Axis{Title: "seconds", Scale: "linear"}, Y: report.Axis{Title: "MiB, or a count", Scale: "linear"}}
	for _, of := range []struct {
		name string
		get  func(report.Holds) float64
	}{
		{"RSS, MiB", func(h report.Holds) float64 { return h.RSS }},
		{"goroutines", func(h report.Holds) float64 { return h.Goroutines }},
		{"open files", func(h report.Holds) float64 { return h.FDs }},
	} {
		line := report.Line{Name: of.name}
		for i, h := range held {
			line.Points = append(line.Points, report.Point{X: float64(i+1) * every.Seconds(), Y: of.get(h)})
		}
		c.Lines = append(c.Lines, line)
	}
	return c
}
