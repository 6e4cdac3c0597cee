package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTheWalkThroughOfTheAPIIsTrue executes docs/api.md: the configuration and the two commands that it
// starts with, on ports that the kernel chooses, then every command of its console blocks in one shell,
// each held against the answer that stands below it.
func TestTheWalkThroughOfTheAPIIsTrue(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	config := strings.NewReplacer(
		"listen: 127.0.0.1:8077\n", "", // start adds its own
		"127.0.0.1:8078", "127.0.0.1:0", "bolt:data/", "bolt:"+t.TempDir()+"/").Replace(blocks(doc, "yaml")[0])
	const token = "HOOKSWITCH_TOKEN=choose-a-long-one"
	s := start(t, config, token)
	shell := startShell(t, token, "PBX="+s.URL, "ADMIN="+s.adminURL(), "HOOK="+startHooksim(t, doc))
	steps := walk(blocks(doc, "console"))
	if len(steps) < 25 {
		t.Fatalf("found %d commands; want the whole walk", len(steps))
	}
	for _, step := range steps {
		if got := shell.run(step.command); !step.expects(got) {
			t.Fatalf("$ %s\ngot  %s\nwant %s", step.command, got, step.answer)
		}
	}
}

// blocks returns what stands in the document's code blocks of a language.
func blocks(doc, language string) []string {
	var list []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		list = append(list, m[1])
	}
	return list
}

// walkStep is a command, and what it is to print; "…" stands for anything.
type walkStep struct{ command, answer string }

// walk takes console blocks apart: a command begins with "$ ", and its answer follows.
func walk(blocks []string) []walkStep {
	var steps []walkStep
	for _, block := range blocks {
		for line := range strings.Lines(block) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				steps = append(steps, walkStep{command: strings.TrimSuffix(command, "\n")})
			} else if len(steps) > 0 {
				steps[len(steps)-1].answer += line
			}
		}
	}
	return steps
}

// expects reports whether the answer is what the document shows.
func (s walkStep) expects(got string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(s.answer)), "…", "(?s:.*)")
	return regexp.MustCompile("^" + pattern + "$").MatchString(strings.TrimSpace(got))
}

// startHooksim starts the document's simulated webhook and returns its URL.
func startHooksim(t *testing.T, doc string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^hookswitch hooksim --listen \S+ --answer '(.*)'$`).FindStringSubmatch(doc)
	if m == nil {
		t.Fatal("the document starts no hooksim")
	}
	sim := exec.Command(binary, "hooksim", "--listen", "127.0.0.1:0", "--answer", m[1])
	out, err := sim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sim.Process.Kill()
		_ = sim.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if address := regexp.MustCompile(`127\.0\.0\.1:[0-9]+`).FindString(lines.Text()); address != "" {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return "http://" + address
		}
	}
	t.Fatal("hooksim has not said where it listens")
	return ""
}

// shell is a bash that keeps its variables from command to command.
type shell struct {
	t     *testing.T
	in    io.Writer
	lines chan string
	done  int
}

func startShell(t *testing.T, env ...string) *shell {
	t.Helper()
	bash := exec.Command("bash", "--noprofile", "--norc")
	bash.Env, bash.Dir = append(os.Environ(), env...), t.TempDir()
	in, err := bash.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := bash.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	bash.Stderr = bash.Stdout
	if err := bash.Start(); err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, in: in, lines: make(chan string)}
	go func() {
		defer close(s.lines)
		all := bufio.NewScanner(out)
		all.Buffer(nil, 1<<20)
		for all.Scan() {
			s.lines <- all.Text()
		}
	}()
	t.Cleanup(func() {
		_ = bash.Process.Kill()
		for range s.lines { // until it has ended
		}
		_ = bash.Wait()
	})
	return s
}

// run runs one command and returns what it printed.
func (s *shell) run(command string) string {
	s.t.Helper()
	s.done++
	end := fmt.Sprintf("end of step %d", s.done)
	fmt.Fprintf(s.in, "%s\necho; echo '%s'\n", command, end)
	var printed strings.Builder
	timeout := time.After(30 * time.Second)
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				s.t.Fatalf("the shell ended at: %s", command)
			}
			if line == end {
				return printed.String()
			}
			printed.WriteString(line + "\n")
		case <-timeout:
			s.t.Fatalf("no end of: %s\n%s", command, printed.String())
		}
	}
}

// TestTheAPIsDocumentIsTheOneInTheTree holds the served description against the file that docs/api.md
// links to.
func TestTheAPIsDocumentIsTheOneInTheTree(t *testing.T) {
	want, err := os.ReadFile(filepath.FromSlash("../admin/openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, adminConfig(t))
	resp, err := client.Get(s.adminURL() + "/api/v1/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(got) != string(want) {
		t.Errorf("status %d, %v, %d bytes; want the file, %d bytes", resp.StatusCode, err, len(got), len(want))
	}
}
