// Package peers holds what the harness runs: hookswitch with a configuration of any size, and the
// programs that somebody would use in its place, each set up as its own users would want it: one
// worker, connections kept alive on both sides, logs off.
package peers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Program is something to run.
type Program struct {
	Name string   // a short one, for files and JSON
	Argv []string // what to execute
	Env  []string // beside the harness' own environment
	Addr string   // where it listens
	Log  string   // the file that takes its output
}

// Running is a program that has been started.
type Running struct {
	Program
	Pid  int
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

const patience = 10 * time.Second

// Start runs p on the given cores ("0", "0,1") and returns when it accepts connections.
func Start(p Program, cores string) (*Running, error) {
	log, err := os.Create(p.Log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	cmd := exec.Command("taskset", append([]string{"-c", cores}, p.Argv...)...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	// Whatever ends the harness ends what it started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	r := &Running{Program: p, Pid: cmd.Process.Pid, cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(r.done)
	}()
	if err := r.await(); err != nil {
		r.Stop()
		return nil, err
	}
	return r, nil
}

func (r *Running) await() error {
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if !r.Alive() {
			return fmt.Errorf("%s ended at once; %s says why", r.Name, r.Log)
		}
		if conn, err := net.DialTimeout("tcp", r.Addr, time.Second); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("%s does not listen on %s after %v; see %s", r.Name, r.Addr, patience, r.Log)
}

// Alive reports whether the program still runs.
func (r *Running) Alive() bool {
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// Signal sends the program a signal.
func (r *Running) Signal(s syscall.Signal) error { return r.cmd.Process.Signal(s) }

// Stop ends the program: kindly, and after a while by force.
func (r *Running) Stop() {
	if err := r.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		fmt.Fprintf(os.Stderr, "stop %s: %v\n", r.Name, err)
	}
	select {
	case <-r.done:
	case <-time.After(patience + 2*time.Second):
		_ = r.cmd.Process.Kill() // it is gone, or going
		<-r.done
	}
	r.log.Close()
}

// FreeAddr returns a loopback address on which nobody listened a moment ago.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
