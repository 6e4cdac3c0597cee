package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hookswitch/bench/peers"
	"hookswitch/bench/report"
)

type runCommand struct {
	Quick bool     `help:"Short rounds: two minutes, and figures that are no more than a hint."`
	Only  []string `placeholder:"NAME" help:"Only these parts: ${parts}."`
	Out   string   `default:"bench/out" placeholder:"FOLDER" help:"Where the report goes (${default})."`
	Soak  bool     `help:"The soak as well: five minutes at 80 % of capacity."`
}

// part is one chapter of a run.
type part struct {
	name string
	run  func(*bed, *report.Run, string) error
}

var parts = []part{
	{"race", raceAll}, {"allocs", measureAllocs}, {"hung", measureHung}, {"beside", measureBeside},
	{"memory", measureMemory}, {"reload", measureReload}, {"scaling", measureScaling}, {"scenarios", playScenarios},
}

func partNames() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

func (c *runCommand) Run(ctx context.Context) error {
	b, err := newBed(ctx, c.Out, c.Quick)
	if err != nil {
		return err
	}
	defer b.Close()
	binary, err := b.buildTree()
	if err != nil {
		return err
	}
	run := &report.Run{Begun: time.Now(), Quick: c.Quick, Machine: thisMachine(), Values: map[string]float64{}}
	for _, p := range parts {
		if len(c.Only) > 0 && !slices.Contains(c.Only, p.name) {
			continue
		}
		if err := b.part(p, run, binary); err != nil {
			return err
		}
	}
	if c.Soak {
		if err := b.part(part{"soak", soak}, run, binary); err != nil {
			return err
		}
	}
	run.Took = time.Since(run.Begun)
	if err := run.Save(filepath.Join(b.out, "run.json")); err != nil {
		return err
	}
	return publish(run, b.out)
}

// part runs one chapter, and ends what it has started.
func (b *bed) part(p part, run *report.Run, binary string) error {
	say("== %s", p.name)
	began := time.Now()
	defer b.Close()
	if err := p.run(b, run, binary); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	say("   %s took %v", p.name, time.Since(began).Round(100*time.Millisecond))
	return nil
}

// raceConfig has a number whose hook is sent a GET, and one whose hook is sent a POST. The time-out is
// long, so that a busy moment of the machine does not open a breaker and spoil a round.
func raceConfig(h *hook) peers.Config {
	return peers.Config{Projects: 1, Hooks: 2, Numbers: 2, HookAddrs: []string{h.addr}, Post: true, RequestTimeout: 5 * time.Second, MaxInFlight: 10000}
}

// raceAll runs every program side by side through every kind of load.
func raceAll(b *bed, run *report.Run, binary string) error {
	h, err := b.startHook("hook")
	if err != nil {
		return err
	}
	stage := map[string]*peers.Running{}
	run.Programs = []report.Program{{Name: report.Ours, Title: "hookswitch", Does: "lookup, parse, check, fallback, breaker, metrics, logs", Version: version(binary, "version")}}
	config := raceConfig(h)
	if stage[report.Ours], err = b.serve(report.Ours, binary, config, serviceCore); err != nil {
		return err
	}
	for _, p := range peers.Peers {
		program, err := p.Program(b.self, b.out, h.addr)
		if err != nil {
			return err
		}
		if stage[p.Name], err = b.start(program, serviceCore); err != nil {
			return err
		}
		run.Programs = append(run.Programs, report.Program{Name: p.Name, Title: p.Title, Does: p.Does, Version: version(program.Argv[0], "-v")})
	}
	run.Programs = append(run.Programs, report.Program{Name: direct, Title: "the hook, asked directly", Does: "the floor under every latency"})
	for _, p := range b.plans() {
		if err := b.race(run, p, h.pid, stageLanes(p, stage, h, run.Programs)); err != nil {
			return err
		}
	}
	run.Charts = append(run.Charts, latencyChart(run, "get-500", fmt.Sprintf("Answer time at %d/s, open loop", pacedRate)))
	return nil
}

// plans are the loads of the race. One round of a full run is long enough for about 60,000 answers
// saturated, and 1,000 paced.
func (b *bed) plans() []plan {
	if b.quick {
		return []plan{
			{load: "get", each: 400 * time.Millisecond, rounds: 2}, {load: "post", each: 400 * time.Millisecond, rounds: 2},
			{load: "get-500", rate: pacedRate, each: 700 * time.Millisecond, rounds: 2}, {load: "get-connection", each: 300 * time.Millisecond, rounds: 1},
		}
	}
	return []plan{
		{load: "get", each: 1500 * time.Millisecond, rounds: 6, clean: 6, most: 8},
		{load: "post", each: 1500 * time.Millisecond, rounds: 6, clean: 6, most: 8},
		{load: "get-500", rate: pacedRate, each: 2500 * time.Millisecond, rounds: 6, clean: 6, most: 8},
		{load: "get-connection", each: time.Second, rounds: 3},
	}
}

// stageLanes puts the programs of a race in order. The webhook itself runs only where latencies are
// compared: it does not share a core with the others, so that what it costs saturated says nothing.
func stageLanes(p plan, stage map[string]*peers.Running, h *hook, programs []report.Program) []lane {
	var lanes []lane
	for _, program := range programs {
		addr, pid := h.addr, h.pid
		if r := stage[program.Name]; r != nil {
			addr, pid = r.Addr, r.Pid
		} else if p.rate == 0 {
			continue
		}
		s := question(p.load, program.Name, addr, connections)
		s.PerRequest = p.load == "get-connection"
		lanes = append(lanes, lane{program: program.Name, pid: pid, stream: s, rate: p.rate})
	}
	return lanes
}

// version asks a program for its version; the peers in Go have none.
func version(program, flag string) string {
	if !strings.Contains(program, "nginx") && !strings.Contains(program, "haproxy") && flag == "-v" {
		return ""
	}
	cmd := exec.Command(program, flag)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// publish writes the page, the table and the plots of a run, and prints the table.
func publish(run *report.Run, out string) error {
	files, err := report.Files(run)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(out, name), text, 0o644); err != nil {
			return err
		}
	}
	if err := paint(files, out); err != nil {
		return err
	}
	fmt.Println(report.Terminal(run))
	say("the report is %s", filepath.Join(out, "index.html"))
	return nil
}

// paint writes each plot as PNG too, twice as large, for pages that show no SVG.
func paint(files map[string][]byte, out string) error {
	for name := range files {
		plot, ok := strings.CutSuffix(name, ".svg")
		if !ok {
			continue
		}
		cmd := exec.Command("rsvg-convert", "--zoom", "2", "-o", plot+".png", name)
		cmd.Dir = out
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("paint %s (rsvg-convert is Debian's librsvg2-bin): %w %s", name, err, said)
		}
	}
	return nil
}

type reportCommand struct {
	Out string `default:"bench/out" placeholder:"FOLDER" help:"The folder of the run (${default})."`
}

func (c *reportCommand) Run() error {
	run, err := report.Load(filepath.Join(c.Out, "run.json"))
	if err != nil {
		return err
	}
	return publish(run, c.Out)
}
