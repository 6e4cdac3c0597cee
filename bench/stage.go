package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"hookswitch/bench/hooksim"
	"hookswitch/bench/load"
	"hookswitch/bench/meter"
	"hookswitch/bench/peers"
	"hookswitch/bench/report"
)

// stage is where a scenario plays.
type stage struct {
	s         scenario
	config    peers.Config
	service   *peers.Running
	hooks     []*hook
	told      []int // behaviours told to each webhook and not yet acknowledged
	generator *load.Generator
	fault     error
}

// streams makes the callers, and says how long they call.
func (s *scenario) streams(addr string) ([]load.Stream, time.Duration) {
	var streams []load.Stream
	longest := time.Duration(0)
	for i, conf := range s.Streams {
		var phases []load.Phase
		for _, p := range conf.Phases {
			phases = append(phases, load.Phase{From: p.From, To: p.To, For: p.For})
		}
		pace := load.Phases(phases...)
		stream := question("get", report.Ours, addr, conf.Connections)
		stream.Name, stream.Pace, stream.PerRequest, stream.Reasons = conf.Name, &pace, conf.PerRequest, true
		stream.Want = []byte(`"dst_phone":"380`) // whatever the reason, something to dial
		switch conf.Numbers {
		case "zipf":
			stream.Callee = load.Zipf(peers.FirstNumber(), s.Config.Numbers, uint64(i+1))
		case "uniform":
			stream.Callee = load.Uniform(peers.FirstNumber(), s.Config.Numbers, uint64(i+1))
		default:
			n, _ := strconv.Atoi(conf.Numbers) // without one, the first
			stream.Callee = load.Always(peers.FirstNumber() + uint64(n))
		}
		streams = append(streams, stream)
		longest = max(longest, pace.Duration())
	}
	return streams, longest
}

// events are the scenario's, as things to do. The first fault stands until the end.
func (st *stage) events() []load.Event {
	var events []load.Event
	for i, e := range st.s.Events {
		do := func() error { return nil }
		switch {
		case e.Behave != nil:
			do = func() error {
				st.told[e.Webhook]++
				return st.hooks[e.Webhook].tell(*e.Behave)
			}
		case e.Reload:
			do = st.reload(i)
		case e.Reconnect:
			do = func() error {
				st.generator.Reconnect()
				return nil
			}
		}
		events = append(events, load.Event{At: e.At, Do: func() {
			if err := do(); err != nil && st.fault == nil {
				st.fault = err
			}
		}})
	}
	return events
}

// reload prepares a new edition of the configuration, and returns what puts it into use.
func (st *stage) reload(edition int) func() error {
	file := st.service.Argv[len(st.service.Argv)-1]
	pending := fmt.Sprintf("%s.%d", file, edition)
	next := st.config
	next.Edition = edition + 1
	if err := next.WriteFile(pending, st.service.Addr); err != nil {
		return func() error { return err }
	}
	return func() error {
		if err := os.Rename(pending, file); err != nil {
			return err
		}
		return st.service.Signal(syscall.SIGHUP)
	}
}

// curtain returns what the webhooks have counted.
func (st *stage) curtain() (map[string]float64, error) {
	counts := map[string]float64{}
	for i, h := range st.hooks {
		var stats hooksim.Stats
		for range st.told[i] {
			if err := h.heard(&stats); err != nil {
				return nil, err
			}
		}
		stats, err := h.act(behaviour{})
		if err != nil {
			return nil, err
		}
		counts[fmt.Sprintf("webhook %d", i)] = float64(stats.Requests)
	}
	return counts, st.fault
}

func holds(s *peers.Running) (report.Holds, error) {
	u, err := meter.Read(s.Pid)
	if err != nil {
		return report.Holds{}, err
	}
	page, err := meter.Scrape(s.Addr)
	if err != nil {
		return report.Holds{}, err
	}
	return report.Holds{RSS: float64(u.RSS) / (1 << 20), Goroutines: page["go_goroutines"], FDs: float64(u.FDs)}, nil
}

// judge says how a scenario ended. A hurried one is too short to say what is held back.
func judge(out *report.Scenario, s scenario, results []load.Result, hurried bool) {
	out.Name, out.About = s.Name, s.About
	fault := func(format string, args ...any) { out.Faults = append(out.Faults, fmt.Sprintf(format, args...)) }
	var answered, byReason = uint64(0), map[string]uint64{}
	for _, r := range results {
		out.Streams = append(out.Streams, outcome(r))
		out.HeldUp = max(out.HeldUp, r.HeldUp)
		if n := r.Lost + r.Refused; n > 0 {
			fault("%s: %d of %d calls got nothing to dial; the last: %s", r.Name, n, r.Offered, r.Worst)
		}
		answered += r.Answered
		for reason, n := range r.Reasons {
			byReason[reason] += n
		}
	}
	for reason, least := range s.Least {
		if share := float64(byReason[reason]) / float64(max(answered, 1)); share < least {
			fault("%.3f of the answers are %s; want %.3f or more", share, reason, least)
		}
	}
	for _, held := range []struct {
		what                string
		before, after, more float64
	}{
		{"MiB of RSS", out.Before.RSS, out.After.RSS, s.MoreMiB},
		{"goroutines", out.Before.Goroutines, out.After.Goroutines, moreHeld},
		{"open files", out.Before.FDs, out.After.FDs, moreHeld},
	} {
		if grown := held.after - held.before; grown > held.more && !hurried {
			fault("%.0f %s more than before; want at most %.0f more", grown, held.what, held.more)
		}
	}
	out.Pass = len(out.Faults) == 0
	var marks []report.Event
	for _, e := range s.Events {
		marks = append(marks, report.Event{X: e.At.Seconds(), Text: e.What})
	}
	out.Chart = timeChart("scenario-"+s.Name, s.Name, results[0], marks)
}

func outcome(r load.Result) report.Outcome {
	at := func(p float64) float64 { return ms(load.Percentile(r.Latency, p)) }
	return report.Outcome{Name: r.Name, Offered: r.Offered, Answered: r.Answered, Refused: r.Refused, Lost: r.Lost, Reasons: r.Reasons,
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: at(100)}
}
