package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestAFileIsTakenUpOnceItHasBeenTheSameOnTwoLooks(t *testing.T) {
	then := time.Now().Add(-time.Hour)
	write := func(text string) func(string) error {
		return func(name string) error { return os.WriteFile(name, []byte(text), 0o600) }
	}
	instead := func(put func(string) error) func(string) error {
		return func(name string) error {
			if err := os.RemoveAll(name); err != nil {
				return err
			}
			return put(name)
		}
	}
	nothing := func(string) error { return nil }
	pipe := instead(func(name string) error { return syscall.Mkfifo(name, 0o600) })
	endless := instead(func(name string) error { return os.Symlink("/dev/zero", name) })
	type look struct {
		change func(name string) error
		want   bool
	}
	for _, tc := range []struct {
		name  string
		looks []look
	}{
		{"a file that nobody changes", []look{{nothing, false}, {nothing, false}}},
		{"a file that has changed", []look{{write("two"), false}, {nothing, true}, {nothing, false}}},
		{"a file that is still being written", []look{{write(""), false}, {write("tw"), false}, {write("two"), false}, {nothing, true}, {nothing, false}}},
		{"a file that is touched", []look{{func(name string) error { return os.Chtimes(name, then, then) }, false}, {nothing, true}, {nothing, false}}},
		{"a file that is gone, and comes back", []look{{os.Remove, false}, {nothing, false}, {write("two"), false}, {nothing, true}}},
		{"a pipe in its place, and then a file", []look{{pipe, false}, {nothing, true}, {nothing, false}, {instead(write("two")), false}, {nothing, true}, {nothing, false}}},
		{"a device without an end, and then a file", []look{{endless, false}, {nothing, true}, {nothing, false}, {instead(write("two")), false}, {nothing, true}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "hookswitch.yaml")
			if err := write("one")(name); err != nil {
				t.Fatal(err)
			}
			w := fileWatch{name: name}
			w.taken = w.read()
			w.seen = w.taken
			for i, l := range tc.looks {
				if err := l.change(name); err != nil {
					t.Fatal(err)
				}
				if got := w.settled(); got != l.want {
					t.Errorf("look %d: taken up is %v; want %v", i+1, got, l.want)
				}
			}
		})
	}
}

func TestAPipeIsReadAtTheStartAndNotAgain(t *testing.T) {
	defer goleak.VerifyNone(t)
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	w := fileWatch{name: name}
	w.taken = w.read() // which takes nothing out of it
	go func() { written <- os.WriteFile(name, []byte("store: none\nprojects: []\n"), 0o600) }()
	cfg, err := loadFile(name)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if err != nil || cfg.Store != "none" {
		t.Errorf("at the start: got %+v, %v; want what was written", cfg, err)
	}
	if _, err := loadAgain(name, 2); err == nil {
		t.Error("again: got no error; want it refused")
	}
}
