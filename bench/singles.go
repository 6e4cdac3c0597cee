package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"hookswitch/bench/load"
	"hookswitch/bench/meter"
	"hookswitch/bench/peers"
	"hookswitch/bench/report"
)

// pick returns the quick value in a quick run.
func pick[T any](b *bed, full, quick T) T {
	if b.quick {
		return quick
	}
	return full
}

// ask runs streams once and returns their results.
func ask(d time.Duration, streams ...load.Stream) ([]load.Result, error) {
	g, err := load.Open(streams...)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	return g.Run(d, 100*time.Millisecond), nil
}

// steady is a stream of lookups of one number at a pace.
func steady(addr, name string, number int, rate float64, d time.Duration) load.Stream {
	pace := load.Steady(rate, d)
	s := question("get", report.Ours, addr, 256)
	s.Name, s.Pace, s.Callee = name, &pace, load.Always(peers.FirstNumber()+uint64(number))
	s.Want, s.Reasons = []byte(`"dst_phone":"`), true
	return s
}

// measureAllocs counts what a decision leaves to the garbage collector, by the service's own metrics,
// and what the micro-benchmarks of the rooms say.
func measureAllocs(b *bed, run *report.Run, binary string) error {
	h, err := b.startHook("hook-allocs")
	if err != nil {
		return err
	}
	s, err := b.serve("allocs", binary, raceConfig(h), serviceCore)
	if err != nil {
		return err
	}
	for _, kind := range []string{"get", "post"} {
		count, bytes, err := allocations(s.Addr, question(kind, report.Ours, s.Addr, connections), pick(b, 4*time.Second, time.Second))
		if err != nil {
			return err
		}
		run.Values["allocs."+kind+".count"], run.Values["allocs."+kind+".bytes"] = count, bytes
	}
	run.Values["allocs.count"], run.Values["allocs.bytes"] = run.Values["allocs.get.count"], run.Values["allocs.get.bytes"]
	return roomAllocs(b, run)
}

// allocations returns the allocations and bytes of one answer. What a scrape costs itself is taken off.
func allocations(addr string, s load.Stream, d time.Duration) (count, bytes float64, err error) {
	if _, err := ask(d/2, s); err != nil { // the pools fill
		return 0, 0, err
	}
	var pages [3]meter.Page
	for i := range pages {
		if i == 2 {
			results, err := ask(d, s)
			if err != nil {
				return 0, 0, err
			}
			defer func() { count, bytes = count/float64(results[0].Answered), bytes/float64(results[0].Answered) }()
		}
		if pages[i], err = meter.Scrape(addr); err != nil {
			return 0, 0, err
		}
	}
	grown := func(name string) float64 {
		return max(0, (pages[2][name]-pages[1][name])-(pages[1][name]-pages[0][name]))
	}
	return grown("go_memstats_mallocs_total"), grown("go_memstats_alloc_bytes_total"), nil
}

var benchmarkLine = regexp.MustCompile(`(?m)^Benchmark\S+.* (\d+) allocs/op`)

// roomAllocs takes the worst of the rooms' own benchmarks of a lookup.
func roomAllocs(b *bed, run *report.Run) error {
	for room, pattern := range map[string]string{"intake": "GetSixParams|PostJSON25Fields|WriteJSON", "router": "Decide"} {
		cmd := exec.CommandContext(b.ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchmem", "-benchtime", "2000x", "hookswitch/"+room)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("benchmarks of %s: %w\n%s", room, err, out)
		}
		found := benchmarkLine.FindAllSubmatch(out, -1)
		if len(found) == 0 {
			return fmt.Errorf("benchmarks of %s: found none that fits %s", room, pattern)
		}
		for _, m := range found {
			n, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil {
				return err
			}
			run.Values["allocs."+room] = max(run.Values["allocs."+room], n)
		}
	}
	return nil
}

// measureHung asks a hook that never answers: how much later than request_timeout the caller is
// routed, and how soon once the breaker has opened.
func measureHung(b *bed, run *report.Run, binary string) error {
	const timeout = 200 * time.Millisecond
	h, err := b.startHook("hook-hung")
	if err != nil {
		return err
	}
	if _, err := h.act(behaviour{HangRate: 1}); err != nil {
		return err
	}
	config := peers.Config{Projects: 1, Hooks: 1, Numbers: 1, HookAddrs: []string{h.addr}, RequestTimeout: timeout, MaxInFlight: 10000}
	config.Breaker = "{state: closed}"
	s, err := b.serve("hung", binary, config, serviceCore)
	if err != nil {
		return err
	}
	d := pick(b, 15*time.Second, 4*time.Second)
	results, err := ask(d, steady(s.Addr, "hung", 0, 300, d))
	if err != nil {
		return err
	}
	r := results[0]
	run.Values["hung.late_p50_ms"] = ms(load.Percentile(r.Latency, 50) - timeout)
	run.Values["hung.late_p99_ms"] = ms(load.Percentile(r.Latency, 99) - timeout)
	run.Values["hung.late_p999_ms"] = ms(load.Percentile(r.Latency, 99.9) - timeout)
	run.Values["hung.lost"] = float64(r.Lost + r.Refused)
	s.Stop()

	config.Breaker = "" // as it is by default
	if s, err = b.serve("open", binary, config, serviceCore); err != nil {
		return err
	}
	if _, err := ask(time.Second, steady(s.Addr, "opening", 0, 100, time.Second)); err != nil {
		return err
	}
	d = pick(b, 4*time.Second, 2*time.Second) // less than open_for, so that no probe's wait is in it
	if results, err = ask(d, steady(s.Addr, "open", 0, pacedRate, d)); err != nil {
		return err
	}
	run.Values["open.p99_ms"] = ms(load.Percentile(results[0].Latency, 99))
	run.Values["open.share"] = float64(results[0].Reasons["breaker_open"]) / float64(max(results[0].Answered, 1))
	run.Values["hung.lost"] += float64(results[0].Lost + results[0].Refused)
	return nil
}

// measureBeside asks a healthy hook with and without a hung one beside it, in turns. The hung hook's
// breaker is held closed, so that all of its calls wait as long as they may.
func measureBeside(b *bed, run *report.Run, binary string) error {
	healthy, err := b.startHook("hook-healthy")
	if err != nil {
		return err
	}
	hung, err := b.startHook("hook-beside")
	if err != nil {
		return err
	}
	if _, err := healthy.act(behaviour{Latency: 5 * time.Millisecond}); err != nil {
		return err
	}
	if _, err := hung.act(behaviour{HangRate: 1}); err != nil {
		return err
	}
	config := peers.Config{Projects: 1, Hooks: 2, Numbers: 2, HookAddrs: []string{healthy.addr, hung.addr}, Breaker: "{state: closed}"}
	s, err := b.serve("beside", binary, config, serviceCore)
	if err != nil {
		return err
	}
	d := pick(b, 3*time.Second, time.Second)
	var alone, beside load.Result
	for range pick(b, 5, 2) {
		results, err := ask(d, steady(s.Addr, "healthy", 0, 300, d))
		if err != nil {
			return err
		}
		alone.Add(results[0])
		if results, err = ask(d, steady(s.Addr, "healthy", 0, 300, d), steady(s.Addr, "hung", 1, 200, d)); err != nil {
			return err
		}
		beside.Add(results[0])
	}
	before, after := load.Percentile(alone.Latency, 99), load.Percentile(beside.Latency, 99)
	run.Values["beside.alone_p99_ms"], run.Values["beside.p99_ms"] = ms(before), ms(after)
	run.Values["beside.ratio_p99"] = float64(after) / float64(before)
	run.Values["beside.lost"] = float64(beside.Lost + beside.Refused)
	return nil
}

// measureMemory offers 5,000 decisions a second to a large configuration, first with healthy hooks,
// then with all of them hung: what is held then must not go on growing.
func measureMemory(b *bed, run *report.Run, binary string) error {
	const hooks, numbers, rate = 1000, 10000, 5000
	h, err := b.startHook("hook-memory")
	if err != nil {
		return err
	}
	s, err := b.serve("memory", binary, peers.Config{Projects: 10, Hooks: hooks, Numbers: numbers, HookAddrs: []string{h.addr}}, serviceCore)
	if err != nil {
		return err
	}
	d := pick(b, 10*time.Second, 2*time.Second)
	healthy := steady(s.Addr, "healthy", 0, rate, d)
	healthy.Callee = load.Uniform(peers.FirstNumber(), numbers, 1)
	hung := healthy
	hung.Name, hung.Connections = "hung", 4096
	for _, m := range []struct {
		name   string
		act    behaviour
		stream load.Stream
	}{{"rss", behaviour{}, healthy}, {"hung", behaviour{HangRate: 1}, hung}, {"hung_later", behaviour{HangRate: 1}, hung}} {
		if _, err := h.act(m.act); err != nil {
			return err
		}
		before, err := meter.Read(s.Pid)
		if err != nil {
			return err
		}
		if err := meter.ForgetPeak(s.Pid); err != nil {
			return err
		}
		results, err := ask(d, m.stream)
		if err != nil {
			return err
		}
		after, err := meter.Read(s.Pid)
		if err != nil {
			return err
		}
		run.Values["memory."+m.name+"_mib"] = float64(after.Peak) / (1 << 20)
		run.Values["memory."+m.name+"_lost"] = float64(results[0].Lost + results[0].Refused)
		if m.name == "rss" {
			run.Values["memory.start_mib"] = float64(before.Peak) / (1 << 20)
		}
	}
	run.Values["memory.hung_growth"] = run.Values["memory.hung_later_mib"] / run.Values["memory.hung_mib"]
	return nil
}
