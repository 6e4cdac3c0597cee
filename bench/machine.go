package main

import (
	"os"
	"runtime"
	"strings"

	"hookswitch/bench/report"
)

// thisMachine describes the machine as its own files do.
func thisMachine() report.Machine {
	return report.Machine{
		CPU: valueIn("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		Kernel: strings.TrimSpace(read("/proc/sys/kernel/osrelease")), OS: strings.Trim(valueIn("/etc/os-release", "PRETTY_NAME"), `"`),
	}
}

// valueIn returns the value of the first line "name : value" or "name=value", "" where there is none.
func valueIn(file, name string) string {
	for line := range strings.Lines(read(file)) {
		if i := strings.IndexAny(line, ":="); i > 0 && strings.TrimSpace(line[:i]) == name {
			return strings.TrimSpace(line[i+1:])
		}
	}
	return ""
}

func read(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "" // a machine that does not say
	}
	return string(text)
}
