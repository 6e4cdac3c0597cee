package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"hookswitch/bench/hooksim"
	"hookswitch/bench/peers"
)

// behaviour is how a simulated webhook is to act from now on. The zero value answers at once.
type behaviour struct {
	Latency  time.Duration `yaml:"latency" json:",omitempty"`
	Jitter   time.Duration `yaml:"jitter" json:",omitempty"`
	FailRate float64       `yaml:"fail_rate" json:",omitempty"`
	HangRate float64       `yaml:"hang_rate" json:",omitempty"`
	// TailP99 gives the latency a long tail: log-normal, Latency its median. It is drawn anew every
	// few milliseconds, since slow spells of a webhook hit the requests of a moment together.
	TailP99 time.Duration `yaml:"tail_p99" json:",omitempty"`
	// Restart drops every connection and listens again at once.
	Restart bool `yaml:"restart" json:",omitempty"`
}

func (b behaviour) options(listen string) hooksim.Options {
	return hooksim.Options{Listen: listen, Latency: b.Latency, Jitter: b.Jitter, FailRate: b.FailRate, HangRate: b.HangRate, Seed: 1}
}

// hookCommand is a webhook in a process of its own, so that its cost is told apart. A line of JSON on
// standard input is a behaviour; the answer to each is a line with the counters so far. It ends with
// its input.
type hookCommand struct {
	Listen string `required:""`
}

func (c *hookCommand) Run() error {
	h := &simulated{listen: c.Listen}
	if err := h.start(behaviour{}); err != nil {
		return err
	}
	lines, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var b behaviour
		if err := lines.Decode(&b); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("hook: %w", err)
		}
		if err := h.act(b); err != nil {
			return err
		}
		if err := out.Encode(h.stats()); err != nil {
			return fmt.Errorf("hook: %w", err)
		}
	}
}

// simulated is one webhook over its restarts.
type simulated struct {
	listen string
	server *hooksim.Server
	past   hooksim.Stats // of servers that are gone
	tail   chan struct{} // closed to end a long tail; nil where there is none
}

func (h *simulated) start(b behaviour) error {
	s, err := hooksim.New(b.options(h.listen))
	if err != nil {
		return err
	}
	h.server = s
	go s.Serve() // ends with Close; what else may end it shows as lost connections
	return nil
}

func (h *simulated) act(b behaviour) error {
	if h.tail != nil {
		close(h.tail)
		h.tail = nil
	}
	if b.Restart {
		if err := h.server.Close(); err != nil {
			return err
		}
		h.past = h.stats()
		return h.start(b)
	}
	if b.TailP99 > b.Latency && b.Latency > 0 {
		h.tail = make(chan struct{})
		go drawTail(h.server, b, h.tail)
	}
	return h.server.Set(b.options(h.listen))
}

// drawTail sets a new latency every few milliseconds until end is closed.
func drawTail(s *hooksim.Server, b behaviour, end <-chan struct{}) {
	const z99 = 2.3263 // of the normal distribution
	sigma := math.Log(float64(b.TailP99)/float64(b.Latency)) / z99
	draw, now := rand.New(rand.NewPCG(1, 2)), b
	for {
		now.Latency = time.Duration(float64(b.Latency) * math.Exp(sigma*draw.NormFloat64()))
		if s.Set(now.options("")) != nil {
			return // no such latency is refused
		}
		select {
		case <-end:
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (h *simulated) stats() hooksim.Stats {
	s := h.server.Stats()
	s.Requests += h.past.Requests
	s.Probes += h.past.Probes
	s.Failed += h.past.Failed
	s.Hung += h.past.Hung
	return s
}

// hook is a webhook's process, seen from the harness.
type hook struct {
	addr  string
	pid   int
	cmd   *exec.Cmd
	in    io.WriteCloser
	stats *bufio.Scanner
}

func (b *bed) startHook(name string) (*hook, error) {
	addr, err := peers.FreeAddr()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(b.out, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	h := &hook{addr: addr, cmd: exec.Command("taskset", "-c", loadCore, b.self, "hook", "--listen", addr)}
	h.cmd.Stderr = log
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.stats = bufio.NewScanner(out)
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the simulated webhook: %w", err)
	}
	h.pid = h.cmd.Process.Pid
	b.onClose(h.stop)
	_, err = h.act(behaviour{}) // it listens once it answers
	return h, err
}

// act changes the webhook's behaviour and returns what it has counted so far.
func (h *hook) act(b behaviour) (hooksim.Stats, error) {
	var s hooksim.Stats
	if err := h.tell(b); err != nil {
		return s, err
	}
	return s, h.heard(&s)
}

// tell changes the behaviour without waiting; each tell is followed by a heard, sooner or later.
func (h *hook) tell(b behaviour) error {
	line, err := json.Marshal(b)
	if err != nil {
		return err
	}
	_, err = h.in.Write(append(line, '\n'))
	return err
}

func (h *hook) heard(s *hooksim.Stats) error {
	if !h.stats.Scan() {
		return fmt.Errorf("the simulated webhook on %s has gone: %v", h.addr, h.stats.Err())
	}
	return json.Unmarshal(h.stats.Bytes(), s)
}

func (h *hook) stop() {
	h.in.Close()
	_ = h.cmd.Wait() // its input has ended, and so does it
}
