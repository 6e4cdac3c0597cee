package meter

import (
	"os"
	"strings"
	"testing"
	"time"
)

const status = "Name:\tnginx\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t812\nPPid:\t1\nVmPeak:\t   12000 kB\nVmHWM:\t    9000 kB\nVmRSS:\t    8192 kB\nThreads:\t3\nvoluntary_ctxt_switches:\t5\n"

func TestStatusIsRead(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Usage
		err        string
	}{
		{"a process", status, Usage{RSS: 8 << 20, Peak: 9000 << 10, Threads: 3}, ""},
		{"one that has ended, without memory", "Name:\tx\nState:\tZ (zombie)\nThreads:\t1\n", Usage{Threads: 1}, ""},
		{"a broken number", strings.Replace(status, "8192", "many", 1), Usage{}, `VmRSS: found "many"`},
		{"nothing", "", Usage{}, "no Threads line"},
	} {
		got, err := parseStatus([]byte(c.text))
		check(t, c.name, err, c.err)
		if c.err == "" && got != c.want {
			t.Errorf("%s: got %+v; want %+v", c.name, got, c.want)
		}
	}
}

func TestSchedstatIsRead(t *testing.T) {
	for _, c := range []struct {
		name, text  string
		cpu, waited time.Duration
		err         string
	}{
		{"a thread", "1234567890 1630786 42\n", 1234567890, 1630786, ""},
		{"one that never ran", "0 0 0\n", 0, 0, ""},
		{"another kernel's", "1 2\n", 0, 0, "want three numbers"},
		{"no number", "x 2 3\n", 0, 0, "invalid syntax"},
	} {
		cpu, waited, err := parseSchedstat([]byte(c.text))
		check(t, c.name, err, c.err)
		if cpu != c.cpu || waited != c.waited {
			t.Errorf("%s: got %v and %v; want %v and %v", c.name, cpu, waited, c.cpu, c.waited)
		}
	}
}

func TestTheMachinesTimesAreRead(t *testing.T) {
	for _, c := range []struct {
		name, text   string
		busy, stolen time.Duration
		err          string
	}{
		{"idle and waiting for a disk are not busy", "cpu  100 10 50 9000 700 1 2 3 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n", 1630 * time.Millisecond, 30 * time.Millisecond, ""},
		{"guests are in user already", "cpu  100 0 0 0 0 0 0 0 60 0\n", time.Second, 0, ""},
		{"a line too short", "cpu  1 2 3\n", 0, 0, "want the line cpu"},
		{"no such line", "cpu0 1 1 1 1 1 1 1 1 0 0\n", 0, 0, "want the line cpu"},
		{"no number", "cpu  a 0 0 0 0 0 0 0\n", 0, 0, "invalid syntax"},
	} {
		m, err := parseStat([]byte(c.text))
		check(t, c.name, err, c.err)
		if c.err == "" && (m.Busy != c.busy || m.Stolen != c.stolen) {
			t.Errorf("%s: got %+v; want %v and %v", c.name, m, c.busy, c.stolen)
		}
	}
}

func TestAPageOfMetricsIsRead(t *testing.T) {
	page, err := parsePage([]byte("# HELP a b\na 1\n\nb{hook=\"x y\",reason=\"ok\"} 2.5e+06\nc +Inf\n"))
	if err != nil || page["a"] != 1 || page[`b{hook="x y",reason="ok"}`] != 2.5e6 || len(page) != 3 {
		t.Errorf("got %v, %v", page, err)
	}
	for name, text := range map[string]string{"no value": "a\n", "a value of no number": "a b\n"} {
		if _, err := parsePage([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestThisProcessHasAMeasure(t *testing.T) {
	before, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for until := time.Now().Add(30 * time.Millisecond); time.Now().Before(until); {
		sum++
	}
	after, err := ReadAlone(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after.CPU <= before.CPU || after.RSS < 1<<20 || after.Peak < after.RSS/2 || after.Threads < 1 || after.FDs < 3 {
		t.Errorf("before %+v, after %d turns %+v", before, sum, after)
	}
	if m, err := ReadMachine(); err != nil || m.Busy <= 0 {
		t.Errorf("the machine: %+v, %v", m, err)
	}
	if _, err := Read(1 << 30); err == nil {
		t.Error("a process that there is none of has a measure")
	}
}

func check(t *testing.T, name string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: got error %v; want %q", name, err, want)
	}
}
