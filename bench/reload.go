package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"hookswitch/bench/load"
	"hookswitch/bench/peers"
	"hookswitch/bench/report"
)

// measureReload reloads a large configuration while decisions are made: how long it takes, by the
// service's own log, and how much longer than at other times a decision waits meanwhile. The service
// has both cores, as it would have on a machine of this size; how it fares on one is noted as well.
func measureReload(b *bed, run *report.Run, binary string) error {
	for _, on := range []struct{ name, cores string }{{"reload", bothCores}, {"reload.one_core", serviceCore}} {
		r, err := b.reloads(run, binary, on.name, on.cores)
		if err != nil {
			return err
		}
		run.Values[on.name+".took_ms"] = r.took
		run.Values[on.name+".delay_ms"] = r.worst - r.quiet
		run.Values[on.name+".delay_p99_ms"] = r.p99 - r.quiet
		run.Values[on.name+".lost"] = r.lost
	}
	return nil
}

type reloadCost struct{ took, worst, p99, quiet, lost float64 } // ms, and a count

func (b *bed) reloads(run *report.Run, binary, name, cores string) (cost reloadCost, err error) {
	h, err := b.startHook("hook-" + name)
	if err != nil {
		return cost, err
	}
	config := peers.Config{Projects: 10, Hooks: 1000, Numbers: 10000, HookAddrs: []string{h.addr}}
	s, err := b.serve(name, binary, config, cores)
	if err != nil {
		return cost, err
	}
	defer s.Stop()
	const step = 10 * time.Millisecond
	times, every := pick(b, 6, 2), time.Second
	d := time.Duration(times+1) * every
	stream := steady(s.Addr, "calls", 0, 1000, d)
	stream.Callee = load.Uniform(peers.FirstNumber(), config.Numbers, 1)
	var events []load.Event
	file := s.Argv[len(s.Argv)-1]
	var writeErr error
	for i := range times {
		// Written well before it is taken up, so that writing it delays no answer; read on the signal.
		at := time.Duration(i+1) * every
		next := config
		next.Edition = i + 1
		pending := fmt.Sprintf("%s.%d", file, i)
		if err := next.WriteFile(pending, s.Addr); err != nil {
			return cost, err
		}
		events = append(events, load.Event{At: at, Do: func() {
			if err := os.Rename(pending, file); err != nil {
				writeErr = err
			}
			if err := s.Signal(syscall.SIGHUP); err != nil {
				writeErr = err
			}
		}})
	}
	g, err := load.Open(stream)
	if err != nil {
		return cost, err
	}
	defer g.Close()
	g.Run(500*time.Millisecond, step)
	r := g.Run(d, step, events...)[0]
	if writeErr != nil {
		return cost, writeErr
	}
	took, err := awaitReloads(s.Log, times)
	if err != nil {
		return cost, err
	}
	cost.lost = float64(r.Lost + r.Refused)
	cost.judge(r.Timeline, took, every)
	run.Charts = append(run.Charts, timeChart(name, reloadTitle(cores), r, reloadMarks(times, every)))
	return cost, nil
}

// judge compares the answers given during reloads with the middle of all others.
func (c *reloadCost) judge(line []load.Bucket, took []float64, every time.Duration) {
	slowest := 0.0
	for _, t := range took {
		slowest = max(slowest, t)
	}
	c.took = slowest
	within := time.Duration((slowest + 30) * float64(time.Millisecond)) // what it held up is answered after it
	during, quiet := load.NewHistogram(), load.NewHistogram()
	for _, bucket := range line {
		if bucket.Count == 0 {
			continue
		}
		if since := bucket.From % every; bucket.From >= every && since <= within {
			_ = during.RecordValue(int64(bucket.Max))
		} else {
			_ = quiet.RecordValue(int64(bucket.P50))
		}
	}
	c.worst, c.p99, c.quiet = ms(time.Duration(during.Max())), ms(load.Percentile(during, 99)), ms(load.Percentile(quiet, 50))
}

// awaitReloads returns how long each of so many reloads took, once they are done: on a busy machine the last
// may still be under way.
func awaitReloads(log string, times int) ([]float64, error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		took, err := reloadTimes(log)
		if err != nil || len(took) >= times {
			return took, err
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%d of %d reloads were taken up; see %s", len(took), times, log)
		}
	}
}

// reloadTimes reads from a log how long each reload took, in milliseconds.
func reloadTimes(log string) ([]float64, error) {
	text, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	var took []float64
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var line struct {
			Message string  `json:"msg"`
			Took    float64 `json:"took_ms"`
		}
		if strings.Contains(lines.Text(), "reloaded") && json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "reloaded" {
			took = append(took, line.Took)
		}
	}
	return took, nil
}

func reloadTitle(cores string) string {
	if cores == bothCores {
		return "Reload of 10,000 numbers and 1,000 hooks under 1,000 decisions/s"
	}
	return "The same, the service on one core"
}

func reloadMarks(times int, every time.Duration) []report.Event {
	var marks []report.Event
	for i := range times {
		marks = append(marks, report.Event{X: (time.Duration(i+1) * every).Seconds(), Text: "reload"})
	}
	return marks
}
