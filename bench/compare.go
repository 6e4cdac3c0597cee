package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"hookswitch/bench/peers"
	"hookswitch/bench/report"
)

type compareCommand struct {
	Files []string `arg:"" optional:"" type:"existingfile" help:"Two runs' run.json, the older first."`
	Ref   string   `placeholder:"COMMIT" help:"Build this commit and the tree, and measure both in one run instead."`
	Quick bool     `help:"Short rounds."`
	Out   string   `default:"bench/out" placeholder:"FOLDER" help:"Where logs and the result go (${default})."`
}

func (c *compareCommand) Run(ctx context.Context) error {
	if c.Ref != "" {
		return c.builds(ctx)
	}
	if len(c.Files) != 2 {
		return fmt.Errorf("found %d files; want two runs' JSON, or --ref", len(c.Files))
	}
	old, err := report.Load(c.Files[0])
	if err != nil {
		return err
	}
	now, err := report.Load(c.Files[1])
	if err != nil {
		return err
	}
	fmt.Println(report.Difference(old, now))
	return nil
}

// builds measures two builds in turns, in one run: only so do small differences show on a machine
// that has other things to do.
func (c *compareCommand) builds(ctx context.Context) error {
	b, err := newBed(ctx, c.Out, c.Quick)
	if err != nil {
		return err
	}
	defer b.Close()
	dir, err := root()
	if err != nil {
		return err
	}
	past, err := os.MkdirTemp("", "hookswitch-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(past)
	if err := archive(ctx, dir, c.Ref, past); err != nil {
		return err
	}
	h, err := b.startHook("hook")
	if err != nil {
		return err
	}
	run := &report.Run{Begun: time.Now(), Quick: c.Quick, Machine: thisMachine(), Values: map[string]float64{}}
	stage := map[string]*peers.Running{}
	for _, side := range []struct{ name, dir string }{{c.Ref, past}, {"tree", dir}} {
		name := "hookswitch-" + safe(side.name)
		binary, err := b.build(side.dir, name)
		if err != nil {
			return err
		}
		config := raceConfig(h)
		if stage[side.name], err = b.serve("compare-"+safe(side.name), binary, config, serviceCore); err != nil {
			return err
		}
		run.Programs = append(run.Programs, report.Program{Name: side.name, Title: side.name})
	}
	for _, p := range b.plans() {
		if !b.quick {
			p.rounds, p.most = 10, 14
		}
		if err := b.race(run, p, h.pid, stageLanes(p, stage, h, run.Programs)); err != nil {
			return err
		}
	}
	run.Took = time.Since(run.Begun)
	fmt.Println(report.Builds(run, c.Ref, "tree"))
	return run.Save(filepath.Join(b.out, "compare.json"))
}

// archive lays the tree of a commit out in a folder.
func archive(ctx context.Context, dir, ref, into string) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", `git archive "$1" | tar -x -C "$2"`, "sh", ref, into)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("take %s out of git: %w\n%s", ref, err, out)
	}
	if _, err := os.Stat(filepath.Join(into, "Makefile")); err != nil {
		return fmt.Errorf("take %s out of git: %w", ref, err)
	}
	return nil
}

// safe makes a file's name of a commit's.
func safe(ref string) string {
	out := []byte(ref)
	for i, c := range out {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '_') {
			out[i] = '-'
		}
	}
	return string(out)
}
