package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

// A profiler that runs before main does, where the environment asks for one, and ends on SIGUSR1. The
// harness lays this file over cmd/hookswitch too while it builds for a profile, which main there knows
// nothing of.
var _ = startProfile(os.Getenv("BENCH_CPUPROFILE"))

func startProfile(name string) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGUSR1)
	go func() {
		<-end
		pprof.StopCPUProfile()
		f.Close()
	}()
	return nil
}
