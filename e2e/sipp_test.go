package e2e

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// needSIP fails the test where what it drives is not installed.
func needSIP(t *testing.T) {
	t.Helper()
	for _, program := range []string{"kamailio", "sipp"} {
		if _, err := findProgram(program); err != nil {
			t.Fatalf("a real Kamailio routes SIPp's calls here: %v; run scripts/setup, which installs them", err)
		}
	}
}

// findProgram is exec.LookPath that also looks where Debian keeps servers.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		if sbin, sbinErr := exec.LookPath("/usr/sbin/" + name); sbinErr == nil {
			return sbin, nil
		}
	}
	return path, err
}

// process is a SIP program that runs until the test ends.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read after done
}

// launch starts a program with a copy of its output in a file, of which the end is shown when the test
// fails. It is told to end with the test, and made to if it takes over 5 seconds.
func launch(t *testing.T, output, name string, args ...string) *process {
	t.Helper()
	path, err := findProgram(name)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(output)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir = filepath.Dir(output)
	p.cmd.Stdout, p.cmd.Stderr = file, file
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	file.Close()
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	})
	return p
}

// showOnFailure logs the end of a file when the test has failed.
func showOnFailure(t *testing.T, path string) {
	t.Cleanup(func() {
		if text, err := os.ReadFile(path); err == nil && t.Failed() && len(text) > 0 {
			t.Logf("%s:\n%s", filepath.Base(path), text[max(0, len(text)-6<<10):])
		}
	})
}

// freeUDP returns a loopback address on which nobody listens.
func freeUDP(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

// waitUDP waits until p listens on address.
func waitUDP(t *testing.T, p *process, address string) {
	t.Helper()
	waitFor(t, 10*time.Second, p.cmd.Path+" listens on "+address, func() bool {
		c, err := net.ListenPacket("udp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

// sippDir is where the scenarios are, absolute, since each SIPp runs in a folder of its own.
func sippDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/sipp")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// sippArgs are what callers and answerers have in common. deadcall_wait: a proxy keeps the Call-ID on
// all legs, so that an answerer may meet one again at once.
func sippArgs(t *testing.T, scenario, address, dir string) []string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"-sf", filepath.Join(sippDir(t), scenario+".xml"), "-i", "127.0.0.1", "-p", port, "-nostdin",
		"-deadcall_wait", "0", "-timeout", "180", "-timer_resol", "1", "-trace_logs", "-log_file", filepath.Join(dir, "log"),
		"-trace_err", "-error_file", filepath.Join(dir, "errors")}
}

// answerer is a SIPp that is called.
type answerer struct{ address, log string }

// startAnswerer runs a scenario that is called, until the test ends.
func startAnswerer(t *testing.T, scenario string, more ...string) *answerer {
	t.Helper()
	dir, address := t.TempDir(), freeUDP(t)
	args := append(sippArgs(t, scenario, address, dir), "-m", "100000")
	p := launch(t, filepath.Join(dir, scenario+".out"), "sipp", append(args, more...)...)
	showOnFailure(t, filepath.Join(dir, "errors"))
	waitUDP(t, p, address)
	return &answerer{address: address, log: filepath.Join(dir, "log")}
}

// noted returns the number called in each call that the answerer noted as event, by call id.
func (a *answerer) noted(t *testing.T, event string) map[string]string {
	t.Helper()
	calls := map[string]string{}
	for _, line := range readNotes(t, a.log) {
		if line[0] == event {
			calls[line[1]] = line[2]
		}
	}
	return calls
}

// readNotes reads what a scenario noted: EVENT;CALL-ID;…
func readNotes(t *testing.T, path string) [][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var notes [][]string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(strings.TrimSpace(line), ";"); len(fields) >= 3 {
			notes = append(notes, fields)
		}
	}
	return notes
}

// callers is a SIPp that calls.
type callers struct {
	t *testing.T
	*process
	dir   string
	calls int
}

// sippCall is a call that was answered.
type sippCall struct{ id, callee, reached string }

// startCallers has n calls made by a scenario, at rate a second, to each of the callees in turn.
func startCallers(t *testing.T, scenario, proxy string, n, rate int, callees ...string) *callers {
	t.Helper()
	c := &callers{t: t, dir: t.TempDir(), calls: n}
	list := filepath.Join(c.dir, "callees.csv")
	if err := os.WriteFile(list, []byte("SEQUENTIAL\n"+strings.Join(callees, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(sippArgs(t, scenario, freeUDP(t), c.dir), "-m", strconv.Itoa(n), "-r", strconv.Itoa(rate), "-l", strconv.Itoa(n),
		"-inf", list, "-recv_timeout", "30000", "-trace_rtt", "-rtt_freq", "1", proxy)
	c.process = launch(t, filepath.Join(c.dir, scenario+".out"), "sipp", args...)
	showOnFailure(t, filepath.Join(c.dir, "errors"))
	return c
}

// wait waits for all calls, expects each to have been answered, and returns them by call id.
func (c *callers) wait() map[string]sippCall {
	c.t.Helper()
	<-c.done
	if c.err != nil {
		c.t.Errorf("not every call was answered: sipp ended with %v; its errors are below", c.err)
	}
	calls := map[string]sippCall{}
	for _, line := range readNotes(c.t, filepath.Join(c.dir, "log")) {
		if line[0] == "answered" && len(line) >= 4 {
			calls[line[1]] = sippCall{id: line[1], callee: line[2], reached: line[3]}
		}
	}
	if len(calls) != c.calls {
		c.t.Errorf("%d of %d calls were answered; want all", len(calls), c.calls)
	}
	return calls
}

// ringing returns how long each call was in ringing, as SIPp has it: by a clock of 4 ms.
func (c *callers) ringing() latencies {
	c.t.Helper()
	files, _ := filepath.Glob(filepath.Join(c.dir, "*_rtt.csv"))
	if len(files) != 1 {
		c.t.Fatalf("sipp left the response times %v; want one file", files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		c.t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma, r.FieldsPerRecord = ';', -1
	rows, err := r.ReadAll()
	if err != nil {
		c.t.Fatal(err)
	}
	var l latencies
	for _, row := range rows {
		var ms float64
		if len(row) == 3 && row[2] == "ringing" {
			if _, err := fmt.Sscan(row[1], &ms); err != nil {
				c.t.Fatal(err)
			}
			l = append(l, time.Duration(ms*float64(time.Millisecond)))
		}
	}
	slices.Sort(l)
	return l
}
