package store

import (
	"path/filepath"
	"testing"
)

func openFile(t *testing.T, path string) *Bolt {
	t.Helper()
	b, err := OpenBolt(t.Context(), path)
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

func TestTheFilePassesTheConformanceSuite(t *testing.T) {
	conform(t, func(t *testing.T) Store {
		s, err := Open(t.Context(), "bolt:"+filepath.Join(t.TempDir(), "made", "on", "the way", "hookswitch.db"))
		must(t, err)
		return s
	})
}
func writeUntilKilled(path, round string) {}
func fillDisk(path string)                {}
