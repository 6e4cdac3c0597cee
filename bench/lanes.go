package main

import (
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"hookswitch/bench/load"
	"hookswitch/bench/meter"
	"hookswitch/bench/report"
)

// lane is one program under one kind of load.
type lane struct {
	program string
	pid     int
	stream  load.Stream
	rate    float64 // a second, in an open loop; 0 for a closed one
}

const (
	connections = 64
	pacedRate   = 500
	// foreignLimit is the share of one core that others may have in a round that counts.
	foreignLimit = 0.08
	// heldUpLimit is how late the generator may be in such a round.
	heldUpLimit = 20 * time.Millisecond
	warm        = 300 * time.Millisecond
)

// plan is how long and how often lanes are measured.
type plan struct {
	load   string
	each   time.Duration // one lane in one round
	rounds int
	clean  int // rounds wanted that the rest of the machine left alone
	most   int // rounds made at most to get them
	rate   float64
}

// race measures the lanes in turn, round after round, each round beginning with the next lane, and
// files the samples in run.
func (b *bed) race(run *report.Run, p plan, hookPID int, lanes []lane) error {
	latencies := map[*report.Lane][]*hdrhistogram.Histogram{}
	clean := 0
	for round := 0; round < p.rounds || clean < p.clean && round < p.most; round++ {
		allClean := true
		for i := range lanes {
			l := &lanes[(i+round)%len(lanes)]
			sample, result, err := b.sample(l, p.each, hookPID)
			if err != nil {
				return err
			}
			sample.Round = round
			allClean = allClean && sample.Clean
			filed := run.Lane(p.load, l.program)
			filed.Samples = append(filed.Samples, sample)
			latencies[filed] = append(latencies[filed], result.Latency)
			if sample.Bad > 0 {
				say("  %s, %s: %d answers were not good; the last: %s", p.load, l.program, sample.Bad, result.Worst)
			}
		}
		if allClean {
			clean++
		}
		say("%s: round %d of %d, %d left alone by the rest of the machine", p.load, round+1, p.rounds, clean)
	}
	run.Settle(p.load, max(p.clean, 1), latencies)
	return nil
}

// sample measures one lane once.
func (b *bed) sample(l *lane, d time.Duration, hookPID int) (s report.Sample, r load.Result, err error) {
	if err := b.ctx.Err(); err != nil {
		return s, r, err
	}
	stream := l.stream
	if l.rate > 0 {
		pace := load.Steady(l.rate, d)
		stream.Pace = &pace
	}
	g, err := load.Open(stream)
	if err != nil {
		return s, r, err
	}
	defer g.Close()
	g.Run(min(warm, d/2), d)
	before, err := b.observe(l.pid, hookPID)
	if err != nil {
		return s, r, err
	}
	r = g.Run(d, d)[0]
	after, err := b.observe(l.pid, hookPID)
	if err != nil {
		return s, r, err
	}
	return after.since(before, r), r, nil
}

// observation is the state of all meters at one instant.
type observation struct {
	at                  time.Time
	service, hook, self meter.Usage
	machine             meter.Machine
}

func (b *bed) observe(pid, hookPID int) (o observation, err error) {
	o.at = time.Now()
	if o.service, err = meter.Read(pid); err != nil {
		return o, err
	}
	if o.hook, err = meter.Read(hookPID); err != nil {
		return o, err
	}
	if o.self, err = meter.ReadAlone(os.Getpid()); err != nil {
		return o, err
	}
	o.machine, err = meter.ReadMachine()
	return o, err
}

func (o observation) since(before observation, r load.Result) report.Sample {
	n := float64(max(r.Answered, 1))
	micros := func(after, before meter.Usage) float64 { return float64(after.CPU-before.CPU) / 1e3 / n }
	took := o.at.Sub(before.at)
	ours := o.service.CPU - before.service.CPU + o.hook.CPU - before.hook.CPU + o.self.CPU - before.self.CPU
	if o.service.CPU == o.hook.CPU { // the webhook itself is what is measured
		ours -= o.hook.CPU - before.hook.CPU
	}
	foreign := o.machine.Busy - before.machine.Busy - ours + o.machine.Stolen - before.machine.Stolen
	s := report.Sample{
		CPU: micros(o.service, before.service), HookCPU: micros(o.hook, before.hook), LoadCPU: micros(o.self, before.self),
		Rate: n / took.Seconds(), Answered: r.Answered, Bad: r.Refused + r.Lost,
		P50: ms(load.Percentile(r.Latency, 50)), P99: ms(load.Percentile(r.Latency, 99)),
		Foreign: float64(foreign) / float64(took),
	}
	s.Clean = s.Foreign < foreignLimit && r.HeldUp < heldUpLimit && s.Bad == 0
	return s
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
