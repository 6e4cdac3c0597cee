// Package meter reads what a process has cost, from Linux's /proc and from a Prometheus page.
package meter

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Usage is what a process, with the processes that it started, has used so far and holds now.
type Usage struct {
	CPU     time.Duration // on a core
	Waited  time.Duration // runnable, while something else had the core
	RSS     int64         // bytes
	Peak    int64         // the highest RSS so far, bytes
	Threads int
	FDs     int
}

// Read measures a process and those below it.
func Read(pid int) (Usage, error) {
	var sum Usage
	for _, id := range tree(pid) {
		u, err := ReadAlone(id)
		if err != nil {
			return sum, fmt.Errorf("measure process %d: %w", id, err)
		}
		sum.CPU += u.CPU
		sum.Waited += u.Waited
		sum.RSS += u.RSS
		sum.Peak += u.Peak
		sum.Threads += u.Threads
		sum.FDs += u.FDs
	}
	return sum, nil
}

// ReadAlone measures a process without those below it.
func ReadAlone(pid int) (u Usage, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, err
	}
	if u, err = parseStatus(status); err != nil {
		return u, err
	}
	// schedstat counts nanoseconds where stat counts ticks of ten milliseconds, but by thread.
	threads, err := filepath.Glob(dir + "/task/*/schedstat")
	if err != nil {
		return u, err
	}
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // a thread that ended meanwhile
		}
		cpu, waited, err := parseSchedstat(text)
		if err != nil {
			return u, err
		}
		u.CPU += cpu
		u.Waited += waited
	}
	fds, err := os.ReadDir(dir + "/fd")
	u.FDs = len(fds)
	return u, err
}

// ForgetPeak makes a process' Peak count from now on (proc_pid_clear_refs(5)).
func ForgetPeak(pid int) error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("forget the peak of RSS: %w", err)
	}
	return nil
}

// tree returns pid and the ids of the processes below it.
func tree(pid int) []int {
	ids := []int{pid}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range threads {
		text, _ := os.ReadFile(name)
		for _, child := range bytes.Fields(text) {
			if id, err := strconv.Atoi(string(child)); err == nil {
				ids = append(ids, tree(id)...)
			}
		}
	}
	return ids
}

// parseStatus reads /proc/PID/status (proc_pid_status(5)).
func parseStatus(text []byte) (u Usage, err error) {
	for line := range bytes.Lines(text) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		fields := bytes.Fields(value)
		if len(fields) == 0 {
			continue
		}
		n, bad := strconv.ParseInt(string(fields[0]), 10, 64)
		switch string(name) {
		case "VmRSS":
			u.RSS = n << 10
		case "VmHWM":
			u.Peak = n << 10
		case "Threads":
			u.Threads = int(n)
		default:
			continue
		}
		if bad != nil {
			return u, fmt.Errorf("status: %s: found %q; want a number", name, fields[0])
		}
	}
	if u.Threads == 0 {
		return u, fmt.Errorf("status: no Threads line in %.60q", text)
	}
	return u, nil
}

// parseSchedstat reads /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst): the
// nanoseconds on a core, those spent waiting for one, and the number of times it ran.
func parseSchedstat(text []byte) (cpu, waited time.Duration, err error) {
	fields := bytes.Fields(text)
	if len(fields) != 3 {
		return 0, 0, fmt.Errorf("schedstat: found %q; want three numbers", text)
	}
	var n [2]int64
	for i := range n {
		if n[i], err = strconv.ParseInt(string(fields[i]), 10, 64); err != nil {
			return 0, 0, fmt.Errorf("schedstat: %w", err)
		}
	}
	return time.Duration(n[0]), time.Duration(n[1]), nil
}

// Machine is what all cores together have done since the start.
type Machine struct {
	Busy   time.Duration // for any process, and in the kernel
	Stolen time.Duration // by the hypervisor
}

// ReadMachine reads the machine's times, which go in steps of ten milliseconds.
func ReadMachine() (Machine, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Machine{}, err
	}
	return parseStat(text)
}

// tick is the kernel's unit in /proc/stat, USER_HZ, which is 100 wherever Linux runs.
const tick = 10 * time.Millisecond

// parseStat reads the first line of /proc/stat (proc_stat(5)): user nice system idle iowait irq
// softirq steal, and guests, which user holds already.
func parseStat(text []byte) (m Machine, err error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return m, fmt.Errorf("stat: found %.60q; want the line cpu with 8 times", line)
	}
	var times [8]time.Duration
	for i := range times {
		n, err := strconv.ParseInt(string(fields[i+1]), 10, 64)
		if err != nil {
			return m, fmt.Errorf("stat: %w", err)
		}
		times[i] = time.Duration(n) * tick
	}
	m.Busy = times[0] + times[1] + times[2] + times[5] + times[6]
	m.Stolen = times[7]
	return m, nil
}
