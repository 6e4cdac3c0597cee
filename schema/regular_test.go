package schema

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
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
