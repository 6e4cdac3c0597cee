package e2e

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// logReader is a program that stands between the service and whoever wants its log, as a container's log
// driver does, or `| logger`: cat.
type logReader struct {
	t   *testing.T
	cat *exec.Cmd
}

// startRead starts a service whose log goes through a reader.
func startRead(t *testing.T, config string) (*service, *logReader) {
	t.Helper()
	s, r := serving(t, config), &logReader{t, exec.Command("cat")}
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cat.Stdin, s.cmd.Stderr = from, to
	log, err := r.cat.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cat.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.signal(syscall.SIGKILL); _ = r.cat.Wait() })
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	from.Close() // so that the service alone writes, and cat alone reads
	to.Close()
	listening, _ := s.follow(log)
	go s.ended()
	s.untilServing(listening)
	return s, r
}

func (r *logReader) signal(sig syscall.Signal) { _ = r.cat.Process.Signal(sig) }

// stall stops the reader, and returns once it has stopped.
func (r *logReader) stall() {
	r.t.Helper()
	r.signal(syscall.SIGSTOP)
	waitFor(r.t, 5*time.Second, "the reader of the log has stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cat.Process.Pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
}

const linesDropped = "hookswitch_log_lines_dropped_total"

// loudLog has a line for every decision.
const loudLog = "log: {level: debug, sample_first: 0}\n"

// longCall is a call whose line in the log is about as long as lines get.
func longCall(i int) url.Values {
	q := call("380442223355")
	q.Set("callid", fmt.Sprintf("%d-%s", i, strings.Repeat("x", 3500)))
	return q
}

// askedInTime makes n decisions, and fails the test where one is not made, or late.
func (s *service) askedInTime(n int) {
	s.t.Helper()
	for i, o := range s.openLoop(n, 500, longCall) {
		if o.err != nil || o.status != 200 || o.Reason != "ok" || o.took > 2*time.Second {
			s.t.Fatalf("decision %d of %d: status %d, reason %q, %v after %s", i, n, o.status, o.Reason, o.err, o.took)
		}
	}
}

func TestAReaderOfTheLogThatStallsHoldsUpNoCallNorReloadAndIsToldWhatItMissed(t *testing.T) {
	config := fmt.Sprintf(observedProject, "http://127.0.0.1:9/", loudLog)
	s, reader := startRead(t, config)
	reader.stall()
	const calls = 1000 // 3.5 MB of lines
	s.askedInTime(calls)
	s.reload(config + "\n")
	if s.metric(linesDropped) == 0 {
		t.Fatal("no line was dropped, though nobody reads them")
	}
	reader.signal(syscall.SIGCONT)
	waitFor(t, 10*time.Second, "the log tells how many lines it lacks", func() bool { return len(s.logged("log lines were dropped")) > 0 })
	dropped := s.metric(linesDropped)
	if told := s.logged("log lines were dropped"); len(told) != 1 || told[0]["lines"] != dropped {
		t.Errorf("got %v; want one line that tells of %v", told, dropped)
	}
	written := len(s.logged("decision")) + len(s.logged("reloaded"))
	if total := written + int(dropped); total != calls+1 {
		t.Errorf("%d lines were written and %v dropped; want %d together", written, dropped, calls+1)
	}
	s.askedInTime(10)
	s.signal(syscall.SIGTERM)
	s.wantExit(0, 5*time.Second)
	waitFor(t, 5*time.Second, "the last line", func() bool { return len(s.logged("drained")) == 1 })
}

func TestAReaderOfTheLogThatHasStalledHoldsUpNoDrain(t *testing.T) {
	s, reader := startRead(t, fmt.Sprintf(observedProject, "http://127.0.0.1:9/", loudLog))
	reader.stall()
	s.askedInTime(1000)
	s.signal(syscall.SIGTERM)
	s.wantExit(0, 5*time.Second)
}

func TestADrainThatFailsEndsTheProcessThoughNobodyReadsWhy(t *testing.T) {
	hook := startSlowHook(t)
	s, reader := startRead(t, fmt.Sprintf(slowProject, hook.URL, loudLog+"intake: {budget: 20s, drain_timeout: 1s}"))
	reader.stall()
	for i := range 1000 {
		q := longCall(i)
		q.Set("callee", "380449999999") // nobody's
		s.route(q)
	}
	inFlight(t, s, hook, 1)
	s.signal(syscall.SIGTERM)
	s.wantExit(1, 6*time.Second)
}

func TestDecisionsGoOnWithoutAReaderOfTheLog(t *testing.T) {
	s, reader := startRead(t, fmt.Sprintf(observedProject, "http://127.0.0.1:9/", loudLog))
	reader.signal(syscall.SIGKILL)
	_ = reader.cat.Wait()
	s.askedInTime(100)
	waitFor(t, 5*time.Second, "what can't be written is counted", func() bool { return s.metric(linesDropped) == 100 })
	s.signal(syscall.SIGTERM)
	s.wantExit(0, 5*time.Second)
}
