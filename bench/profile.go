package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"hookswitch/bench/load"
	"hookswitch/bench/peers"
	"hookswitch/bench/report"
)

//go:embed door.go
var door []byte

type profileCommand struct {
	Load    string        `default:"mixed" enum:"get,post,mixed,paced" help:"What is asked: get, post, mixed (both, saturated and at 500/s), paced (${default})."`
	Program string        `default:"hookswitch" enum:"hookswitch,bare,nethttp" help:"What is profiled: hookswitch, or a peer in Go: bare, nethttp (${default})."`
	For     time.Duration `default:"20s" help:"How long (${default})."`
	Output  string        `short:"o" default:"bench/out/cpu.pprof" placeholder:"FILE" help:"The profile (${default}); as cmd/hookswitch/default.pgo, the next build uses it."`
	Out     string        `default:"bench/out" placeholder:"FOLDER" help:"Where logs go (${default})."`
}

func (c *profileCommand) Run(ctx context.Context) error {
	b, err := newBed(ctx, c.Out, false)
	if err != nil {
		return err
	}
	defer b.Close()
	h, err := b.startHook("hook-profile")
	if err != nil {
		return err
	}
	p, err := c.program(b, h)
	if err != nil {
		return err
	}
	file, err := filepath.Abs(c.Output)
	if err != nil {
		return err
	}
	p.Env = []string{"BENCH_CPUPROFILE=" + file}
	s, err := b.start(p, serviceCore)
	if err != nil {
		return err
	}
	if err := c.drive(s); err != nil {
		return err
	}
	if err := s.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
	time.Sleep(time.Second)
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("no profile was written; see %s: %w", s.Log, err)
	}
	say("go tool pprof -top %s %s", p.Argv[0], c.Output)
	return nil
}

// program is what is to be profiled: a build of hookswitch with a profiler in it, or a peer of the
// harness' own, which has it anyway.
func (c *profileCommand) program(b *bed, h *hook) (peers.Program, error) {
	for _, p := range peers.Peers {
		if p.Name == c.Program {
			return p.Program(b.self, b.out, h.addr)
		}
	}
	binary, err := b.buildWithDoor()
	if err != nil {
		return peers.Program{}, err
	}
	return raceConfig(h).Program("profile", binary, b.out)
}

func (c *profileCommand) drive(s *peers.Running) error {
	get, post := question("get", report.Ours, s.Addr, connections), question("post", report.Ours, s.Addr, connections)
	for _, part := range []struct {
		load   string
		stream load.Stream
		paced  bool
	}{{"get", get, false}, {"post", post, false}, {"paced", get, true}} {
		d := c.For
		if c.Load == "mixed" {
			d /= 3
		} else if c.Load != part.load {
			continue
		}
		if part.paced {
			pace := load.Steady(pacedRate, d)
			part.stream.Pace = &pace
		}
		results, err := ask(d, part.stream)
		if err != nil {
			return err
		}
		say("%s: %.0f/s, %d not good", part.load, float64(results[0].Answered)/d.Seconds(), results[0].Lost+results[0].Refused)
	}
	return nil
}

// buildWithDoor builds hookswitch as a release is built, but for the file laid over it.
func (b *bed) buildWithDoor() (string, error) {
	dir, err := root()
	if err != nil {
		return "", err
	}
	source, overlay, binary := filepath.Join(b.out, "door.go.txt"), filepath.Join(b.out, "overlay.json"), filepath.Join(b.out, "hookswitch-profile")
	if err := os.WriteFile(source, door, 0o644); err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(dir, "cmd/hookswitch/bench_door.go"): source}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, text, 0o644); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(b.ctx, "taskset", "-c", bothCores, "make", "--silent", "-C", dir, "build", "BIN="+binary)
	cmd.Env = append(os.Environ(), "GOFLAGS=-overlay="+overlay)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build with a profiler: %w\n%s", err, out)
	}
	return binary, nil
}
