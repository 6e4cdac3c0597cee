package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"hookswitch/bench/load"
	"hookswitch/bench/peers"
	"hookswitch/bench/report"
)

//go:embed scenarios/*.yaml
var scenarioFiles embed.FS

// scenario is a story played to the service: callers, webhooks that behave in their ways, and what
// happens on the way. Its end is judged: no call may be lost, and nothing may be held back.
type scenario struct {
	Name   string `yaml:"name"`
	About  string `yaml:"about"`
	Config struct {
		Projects       int           `yaml:"projects"`
		Hooks          int           `yaml:"hooks"`
		Numbers        int           `yaml:"numbers"`
		RequestTimeout time.Duration `yaml:"request_timeout"`
		MaxInFlight    int           `yaml:"max_in_flight"`
		Breaker        string        `yaml:"breaker"`
	} `yaml:"config"`
	// Webhooks are processes; hook h of the configuration is asked at webhook h modulo their number.
	Webhooks []behaviour `yaml:"webhooks"`
	Streams  []struct {
		Name string `yaml:"name"`
		// Numbers is "zipf", "uniform", or the place of a single one.
		Numbers     string `yaml:"numbers"`
		Connections int    `yaml:"connections"`
		PerRequest  bool   `yaml:"per_request"`
		Phases      []struct {
			From float64       `yaml:"from"`
			To   float64       `yaml:"to"`
			For  time.Duration `yaml:"for"`
		} `yaml:"phases"`
	} `yaml:"streams"`
	Events []struct {
		At        time.Duration `yaml:"at"`
		What      string        `yaml:"what"` // for the plot
		Webhook   int           `yaml:"webhook"`
		Behave    *behaviour    `yaml:"behave"`
		Reload    bool          `yaml:"reload"`
		Reconnect bool          `yaml:"reconnect"`
	} `yaml:"events"`
	// Least is the share of answers that must have a reason, by reason.
	Least map[string]float64 `yaml:"least"`
	// MoreMiB is by how much RSS may have grown at the end; 24 where it is not given.
	MoreMiB float64 `yaml:"more_mib"`
}

const (
	// moreHeld is how many goroutines or open files more than before a service may hold afterwards.
	moreHeld = 64
	// mostHeldUp is how late the load generator may be before what it saw says nothing.
	mostHeldUp = 500 * time.Millisecond
	// quietTime is how long it has to let go of them: idle connections are kept for ten seconds.
	quietTime = 12 * time.Second
)

func readScenario(text []byte) (s scenario, err error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("scenario: %w", err)
	}
	switch c := s.Config; {
	case s.Name == "" || len(s.Webhooks) == 0 || len(s.Streams) == 0:
		return s, fmt.Errorf("scenario %q: want a name, webhooks and streams", s.Name)
	case c.Projects < 1 || c.Hooks < c.Projects || c.Numbers < c.Hooks:
		return s, fmt.Errorf("scenario %s: found %d projects, %d hooks, %d numbers; want 1 project or more, and each at least as many as the one before", s.Name, c.Projects, c.Hooks, c.Numbers)
	}
	if s.MoreMiB == 0 {
		s.MoreMiB = 24
	}
	for i, e := range s.Events {
		if e.Webhook < 0 || e.Webhook >= len(s.Webhooks) || i > 0 && e.At < s.Events[i-1].At {
			return s, fmt.Errorf("scenario %s: events[%d]: want a webhook that there is, and events in order", s.Name, i)
		}
	}
	return s, nil
}

type scenarioCommand struct {
	Files []string `arg:"" optional:"" type:"existingfile" help:"Files like those in bench/scenarios; all of those by default."`
	Out   string   `default:"bench/out" placeholder:"FOLDER" help:"Where logs and results go (${default})."`
}

func (c *scenarioCommand) Run(ctx context.Context) error {
	b, err := newBed(ctx, c.Out, false)
	if err != nil {
		return err
	}
	defer b.Close()
	binary, err := b.buildTree()
	if err != nil {
		return err
	}
	run := &report.Run{Begun: time.Now(), Machine: thisMachine(), Values: map[string]float64{}}
	if len(c.Files) == 0 {
		err = playScenarios(b, run, binary)
	}
	for _, file := range c.Files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := b.playText(run, binary, text); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	fmt.Println(report.TerminalScenarios(run))
	for _, s := range run.Scenarios {
		if !s.Pass {
			return fmt.Errorf("scenario %s: %s", s.Name, strings.Join(s.Faults, "; "))
		}
	}
	return run.Save(filepath.Join(b.out, "scenarios.json"))
}

// playScenarios plays every file of bench/scenarios.
func playScenarios(b *bed, run *report.Run, binary string) error {
	files, err := fs.ReadDir(scenarioFiles, "scenarios")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := scenarioFiles.ReadFile(path.Join("scenarios", f.Name()))
		if err != nil {
			return err
		}
		if err := b.playText(run, binary, text); err != nil {
			return err
		}
	}
	return nil
}

func (b *bed) playText(run *report.Run, binary string, text []byte) error {
	s, err := readScenario(text)
	if err != nil {
		return err
	}
	if b.quick {
		s.hurry()
	}
	result, err := b.playTwice(s, binary)
	if err != nil {
		return fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	say("   %s: %s", s.Name, report.ScenarioLine(result))
	run.Scenarios = append(run.Scenarios, result)
	return nil
}

// playTwice plays a scenario, and once more where the machine itself stood still meanwhile.
func (b *bed) playTwice(s scenario, binary string) (result report.Scenario, err error) {
	for range 2 {
		scene := &bed{ctx: b.ctx, out: b.out, self: b.self, quick: b.quick}
		result, err = scene.play(s, binary)
		scene.Close()
		if err != nil || result.HeldUp < mostHeldUp {
			break
		}
		say("   %s: the load generator was held up for %v; playing it again", s.Name, result.HeldUp.Round(time.Millisecond))
	}
	return result, err
}

// hurry shortens a scenario to a third.
func (s *scenario) hurry() {
	for i := range s.Streams {
		for j := range s.Streams[i].Phases {
			s.Streams[i].Phases[j].For /= 3
		}
	}
	for i := range s.Events {
		s.Events[i].At /= 3
	}
}

// play plays one scenario on a bed of its own.
func (b *bed) play(s scenario, binary string) (result report.Scenario, err error) {
	if err := b.ctx.Err(); err != nil {
		return result, err
	}
	hooks := make([]*hook, len(s.Webhooks))
	config := peers.Config{Projects: s.Config.Projects, Hooks: s.Config.Hooks, Numbers: s.Config.Numbers,
		RequestTimeout: s.Config.RequestTimeout, MaxInFlight: s.Config.MaxInFlight, Breaker: s.Config.Breaker}
	for i := range hooks {
		if hooks[i], err = b.startHook(fmt.Sprintf("scenario-%s-hook%d", s.Name, i)); err != nil {
			return result, err
		}
		config.HookAddrs = append(config.HookAddrs, hooks[i].addr)
	}
	service, err := b.serve("scenario-"+s.Name, binary, config, serviceCore)
	if err != nil {
		return result, err
	}
	streams, d := s.streams(service.Addr)
	g, err := load.Open(streams...)
	if err != nil {
		return result, err
	}
	defer g.Close()
	// What the service holds once warm is what it may hold afterwards.
	g.Run(min(d/4, time.Second), d)
	for i, h := range hooks {
		if _, err := h.act(s.Webhooks[i]); err != nil {
			return result, err
		}
	}
	if result.Before, err = holds(service); err != nil {
		return result, err
	}
	stage := &stage{s: s, config: config, service: service, hooks: hooks, told: make([]int, len(hooks)), generator: g}
	results := g.Run(d, 100*time.Millisecond, stage.events()...)
	if result.Hook, err = stage.curtain(); err != nil {
		return result, err
	}
	if result.After, err = b.settle(service, result.Before); err != nil {
		return result, err
	}
	judge(&result, s, results, b.quick)
	return result, nil
}

// settle waits until the service holds no more than it may, and returns what it holds then, or after
// quietTime.
func (b *bed) settle(service *peers.Running, before report.Holds) (after report.Holds, err error) {
	for until := time.Now().Add(quietTime); ; time.Sleep(250 * time.Millisecond) {
		after, err = holds(service)
		if err != nil || b.quick || time.Now().After(until) ||
			after.Goroutines <= before.Goroutines+moreHeld && after.FDs <= before.FDs+moreHeld {
			return after, err
		}
	}
}
