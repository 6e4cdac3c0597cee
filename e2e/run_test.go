package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMakeRunServesTheDemoAndPrintsACurlThatWorks goes the way of someone who has just cloned the
// repository: a copy of what git has or would have, and nothing else.
func TestMakeRunServesTheDemoAndPrintsACurlThatWorks(t *testing.T) {
	for _, address := range []string{"127.0.0.1:8077", "127.0.0.1:8079"} {
		waitFor(t, 30*time.Second, address+", which the demo uses, is free; end what listens there", func() bool { return free(address) })
	}
	var log logBuffer
	run := exec.Command("make", "run")
	run.Dir = cloneTree(t)
	run.Stdout, run.Stderr = logWriter{&log}, logWriter{&log}
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell does, so that Ctrl-C reaches all of it
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-run.Process.Pid, syscall.SIGKILL)
		if t.Failed() {
			t.Logf("output of make run:\n%s", &log)
		}
	})

	printed := regexp.MustCompile(`(?m)^ *(curl .*)$`)
	waitFor(t, 2*time.Minute, "make run prints a curl command", func() bool {
		if len(ended) > 0 {
			t.Fatal("make run has ended by itself")
		}
		return printed.MatchString(log.String())
	})
	command := printed.FindStringSubmatch(log.String())[1]
	answer, err := exec.Command("bash", "-c", command).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	checkDemoAnswer(t, answer)

	if err := syscall.Kill(-run.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(15 * time.Second):
		t.Fatal("make run still runs 15 s after Ctrl-C")
	}
	waitFor(t, 5*time.Second, "no process of make run is left", func() bool {
		return errors.Is(syscall.Kill(-run.Process.Pid, 0), syscall.ESRCH)
	})
	if !free("127.0.0.1:8077") || !free("127.0.0.1:8079") {
		t.Error("someone still listens where the demo did")
	}
}

// checkDemoAnswer holds the answer against DESIGN's: one line, its keys in their order, from the hook.
func checkDemoAnswer(t *testing.T, answer []byte) {
	t.Helper()
	if bytes.Count(answer, []byte("\n")) != 1 || !bytes.HasSuffix(answer, []byte("}\n")) {
		t.Errorf("got %q; want one line", answer)
	}
	var d decision
	if err := json.Unmarshal(answer, &d); err != nil {
		t.Fatalf("got %q: %v", answer, err)
	}
	if d.Source != "hook" || d.Reason != "ok" || d.Project != "1001" || d.CallID != "demo-1" || value(d.Hook) != "crm" || d.Schema != nil {
		t.Errorf("got %s; want hook crm's own answer to call demo-1 of project 1001", answer)
	}
	if len(d.Steps) != 1 || d.DstPhone == "" || d.DstPhone != strings.Join(d.Steps[0].Dial, ",") || d.Steps[0].Strategy != "all" || d.Steps[0].TimeoutS != 90 {
		t.Errorf("got %s; want dst_phone to be what the one dial step rings, all at once, for 90 s", answer)
	}
	want := []string{"decision_id", "callid", "project", "version", "source", "reason", "schema", "dst_phone", "steps", "hook", "elapsed_ms"}
	if got := keys(t, answer); !slices.Equal(got, want) {
		t.Errorf("the answer's keys are %q; want %q", got, want)
	}
}

// keys lists the keys of a JSON object in the order in which they stand there.
func keys(t *testing.T, object []byte) []string {
	t.Helper()
	var list []string
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, key.(string))
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// cloneTree copies the files that git tracks, or would if asked to, as they stand in the working tree.
func cloneTree(t *testing.T) string {
	t.Helper()
	git := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	git.Dir = ".."
	out, err := git.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join("..", name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and git not told yet
		}
		info, statErr := os.Stat(filepath.Join("..", name))
		if err = errors.Join(err, statErr); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, info.Mode())); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// free reports whether nobody listens on address.
func free(address string) bool {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	return l.Close() == nil
}
