package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hookswitch/bench/load"
	"hookswitch/bench/peers"
)

// Each program under test has one core to itself, the load and the webhook share the other.
const (
	serviceCore = "0"
	loadCore    = "1"
	bothCores   = "0,1"
)

// bed is where programs are measured: the folder for their files, and what has been started and must
// be ended.
type bed struct {
	ctx   context.Context
	out   string // folder
	self  string // the harness' own program
	quick bool
	ends  []func()
}

func newBed(ctx context.Context, out string, quick bool) (*bed, error) {
	if runtime.NumCPU() < 2 {
		return nil, fmt.Errorf("found 1 core; want 2, one for the service and one for the load")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if out, err = filepath.Abs(out); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	return &bed{ctx: ctx, out: out, self: self, quick: quick}, pinSelf()
}

// pinSelf keeps every thread of the harness off the service's core.
func pinSelf() error {
	core, err := strconv.Atoi(loadCore)
	if err != nil {
		return err
	}
	var set unix.CPUSet
	set.Set(core)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil {
			return fmt.Errorf("pin the harness to core %s: %w", loadCore, err)
		}
	}
	return nil
}

func (b *bed) onClose(end func()) { b.ends = append(b.ends, end) }

// Close ends everything that was started, the last first.
func (b *bed) Close() {
	for i := len(b.ends) - 1; i >= 0; i-- {
		b.ends[i]()
	}
	b.ends = nil
}

// start runs a program until the bed is closed.
func (b *bed) start(p peers.Program, cores string) (*peers.Running, error) {
	r, err := peers.Start(p, cores)
	if err != nil {
		return nil, err
	}
	b.onClose(func() {
		if r.Alive() {
			r.Stop()
		}
	})
	return r, nil
}

// serve runs hookswitch with a configuration.
func (b *bed) serve(name, binary string, c peers.Config, cores string) (*peers.Running, error) {
	p, err := c.Program(name, binary, b.out)
	if err != nil {
		return nil, err
	}
	return b.start(p, cores)
}

// buildTree makes hookswitch from the tree that the harness runs in.
func (b *bed) buildTree() (string, error) {
	dir, err := root()
	if err != nil {
		return "", err
	}
	return b.build(dir, "hookswitch")
}

// build makes hookswitch from the tree at dir, as `make build` does.
func (b *bed) build(dir, name string) (string, error) {
	binary := filepath.Join(b.out, name)
	say("building %s", name)
	cmd := exec.CommandContext(b.ctx, "taskset", "-c", bothCores, "make", "--silent", "-C", dir, "build", "BIN="+binary)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return binary, nil
}

// root is the module's folder.
func root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	file := string(bytes.TrimSpace(out))
	if err != nil || file == "" || file == os.DevNull {
		return "", fmt.Errorf("no go.mod above; run the harness inside the module")
	}
	return filepath.Dir(file), nil
}

// question returns the stream of a load ("get" or "post") on a program, without pace.
func question(kind, program, addr string, connections int) load.Stream {
	path := "/v1/route"
	if program == direct {
		path = "/route"
	}
	s := load.Stream{Name: program, Addr: addr, Connections: connections, Want: []byte(wanted)}
	if strings.HasPrefix(kind, "post") {
		s.Template = load.Post(addr, path, peers.PostBody())
		s.Callee = load.Always(peers.FirstNumber() + 1)
		return s
	}
	s.Template = load.Get(addr, peers.GetTarget(path))
	s.Callee = load.Always(peers.FirstNumber())
	return s
}

const (
	// direct is the name of asking the webhook itself.
	direct = "direct"
	// wanted is in every answer that holds the webhook's destinations.
	wanted = `"dst_phone":"380441111111,380441111112"`
)

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
