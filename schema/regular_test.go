package schema

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestOnlyARegularFileIsOpened(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	for _, err := range []error{os.WriteFile(file, []byte("0123456789"), 0o600), os.Symlink(file, link), syscall.Mkfifo(pipe, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name, file string
		limit      int64
		want       string // "" for an error
	}{
		{"a file within the limit", file, 10, "0123456789"},
		{"a link to it", link, 10, "0123456789"},
		{"a file beyond the limit shows that it is", file, 4, "01234"},
		{"a pipe that nobody writes to", pipe, 10, ""},
		{"a device without an end", "/dev/zero", 10, ""},
		{"a folder", dir, 10, ""},
		{"nothing", filepath.Join(dir, "none"), 10, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ReadRegular(tc.file, tc.limit)
			if string(got) != tc.want || (tc.want == "") != (err != nil) {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestAPipeIsRefusedWithoutBeingOpened(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(name, []byte("projects: []"), 0o600) }()
	for range 20 {
		if f, err := OpenRegular(name); err == nil {
			f.Close()
			t.Fatal("a pipe was opened")
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-written:
		t.Fatalf("who writes to the pipe was let go (%v); want what is written kept for its reader", err)
	default:
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); string(text) != "projects: []" || err != nil {
		t.Errorf("read %q, %v", text, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}
