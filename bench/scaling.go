package main

import (
	"fmt"
	"time"

	"hookswitch/bench/load"
	"hookswitch/bench/meter"
	"hookswitch/bench/peers"
	"hookswitch/bench/report"
)

// axis is one thing that grows while all else stays.
type axis struct {
	id, title string
	sizes     []int
	config    func(n int) (c peers.Config, connections int)
}

var axes = []axis{
	{"hooks", "hooks, of 10,000 numbers", []int{1, 100, 10000}, func(n int) (peers.Config, int) {
		return peers.Config{Projects: min(n, 100), Hooks: n, Numbers: 10000}, connections
	}},
	{"numbers", "numbers, of 10 hooks", []int{10, 1000, 10000, 100000}, func(n int) (peers.Config, int) {
		return peers.Config{Projects: 1, Hooks: 10, Numbers: n}, connections
	}},
	{"connections", "connections of PBXes", []int{1, 10, 100, 1000}, func(n int) (peers.Config, int) {
		return peers.Config{Projects: 1, Hooks: 1, Numbers: 1}, n
	}},
}

// scalePoint is what one size costs.
type scalePoint struct{ rate, cpu, p99, rss float64 }

// measureScaling shows that cost grows as it should: a lookup's not with the table, memory linearly.
func measureScaling(b *bed, run *report.Run, binary string) error {
	h, err := b.startHook("hook-scaling")
	if err != nil {
		return err
	}
	for _, a := range axes {
		lines := map[string]*report.Line{}
		for _, name := range []string{"rate", "cpu", "p99", "rss"} {
			lines[name] = &report.Line{Name: "hookswitch"}
		}
		for _, n := range a.sizes {
			p, err := b.scale(a, n, h, binary)
			if err != nil {
				return fmt.Errorf("%d %s: %w", n, a.id, err)
			}
			for name, y := range map[string]float64{"rate": p.rate, "cpu": p.cpu, "p99": p.p99, "rss": p.rss} {
				lines[name].Points = append(lines[name].Points, report.Point{X: float64(n), Y: y})
				run.Values[fmt.Sprintf("scaling.%s.%d.%s", a.id, n, name)] = y
			}
			say("   %d %s: %.0f/s, %.1f µs, p99 %.2f ms, %.0f MiB", n, a.id, p.rate, p.cpu, p.p99, p.rss)
		}
		for _, of := range [][3]string{
			{"rate", "Decisions a second, saturated", "/s"}, {"cpu", "CPU per decision", "µs"},
			{"p99", "p99 at 2,000 decisions a second", "ms"}, {"rss", "Memory", "MiB"},
		} {
			run.Charts = append(run.Charts, report.Chart{
				ID: "scaling-" + a.id + "-" + of[0], Title: of[1],
				X: report.Axis{Title: a.title, Scale: "log"}, Y: report.Axis{Title: of[2], Scale: "linear"},
				Lines: []report.Line{*lines[of[0]]},
			})
		}
	}
	return nil
}

func (b *bed) scale(a axis, n int, h *hook, binary string) (p scalePoint, err error) {
	config, conns := a.config(n)
	config.HookAddrs, config.MaxInFlight, config.RequestTimeout = []string{h.addr}, 10000, 5*time.Second
	s, err := b.serve(fmt.Sprintf("scaling-%s-%d", a.id, n), binary, config, serviceCore)
	if err != nil {
		return p, err
	}
	defer s.Stop()
	stream := question("get", report.Ours, s.Addr, conns)
	stream.Callee = load.InTurn(peers.FirstNumber(), config.Numbers) // every hook and number as often, none kept warm
	g, err := load.Open(stream)
	if err != nil {
		return p, err
	}
	defer g.Close()
	d := pick(b, 1500*time.Millisecond, 300*time.Millisecond)
	// Each hook's first connection is made: about 2,500 a second.
	g.Run(max(pick(b, time.Second, 300*time.Millisecond), time.Duration(config.Hooks)*400*time.Microsecond), d)
	before, err := meter.Read(s.Pid)
	if err != nil {
		return p, err
	}
	began := time.Now()
	r := g.Run(d, d)[0]
	took := time.Since(began)
	after, err := meter.Read(s.Pid)
	if err != nil {
		return p, err
	}
	if r.Lost+r.Refused > 0 {
		say("   %d %s: %d answers were not good; the last: %s", n, a.id, r.Lost+r.Refused, r.Worst)
	}
	p.rate = float64(r.Answered) / took.Seconds()
	p.cpu = float64(after.CPU-before.CPU) / 1e3 / float64(max(r.Answered, 1))
	p.rss = float64(after.RSS) / (1 << 20)
	g.Close()
	pace := load.Steady(2000, d)
	stream.Pace = &pace
	results, err := ask(d, stream)
	if err != nil {
		return p, err
	}
	p.p99 = ms(load.Percentile(results[0].Latency, 99))
	return p, nil
}
