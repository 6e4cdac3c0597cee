// Package hookswitch_test holds what is true of the whole module: which room may import which.
package hookswitch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "hookswitch"

// arrows say, for each room, which other rooms it may import; the drawing is in CONTRIBUTING.md. A
// room is a folder with all that is below it, but for those below it that are listed themselves.
var arrows = map[string][]string{
	"schema":         {},
	"router":         {"schema"},
	"socket":         {},
	"intake":         {"schema", "socket"},
	"hookclient":     {"schema", "socket"},
	"store":          {"schema"},
	"history":        {"schema", "store"},
	"notify":         {"schema", "store"},
	"control":        {"schema", "store"},
	"admin":          {"schema", "store", "control"},
	"cmd/hookswitch": {"schema", "router", "intake", "hookclient", "store", "history", "notify", "control", "admin", "bench/hooksim"},
	"bench":          {"bench/hooksim", "bench/load"},
	"bench/hooksim":  {},
	"bench/load":     {},
	"e2e":            {"schema", "bench/hooksim", "bench/load"},
}

// simulator may be imported by every room's tests.
const simulator = "bench/hooksim"

func TestRoomsImportOnlyWhatTheirArrowsAllow(t *testing.T) {
	for _, p := range packages(t) {
		imports := func(paths []string, test bool) {
			for _, path := range paths {
				if err := checkImport(p.ImportPath, path, test); err != nil {
					t.Error(err)
				}
			}
		}
		imports(p.Imports, false)
		imports(p.TestImports, true)
		imports(p.XTestImports, true)
	}
}

func TestAWrongArrowIsNamed(t *testing.T) {
	for _, tc := range []struct {
		importer, imported string
		test               bool
		want               string
	}{
		{"hookswitch/router", "hookswitch/schema", false, ""},
		{"hookswitch/router", "strings", false, ""},
		{"hookswitch/intake/twiml", "hookswitch/intake", false, ""},
		{"hookswitch/router", "hookswitch/bench/hooksim", true, ""},
		{"hookswitch/cmd/hookswitch", "hookswitch/bench/hooksim", false, ""},
		{"hookswitch/router", "hookswitch/store", false, "router imports store; move the wiring to cmd"},
		{"hookswitch/control", "hookswitch/admin", false, "control imports admin; move the wiring to cmd"},
		{"hookswitch/router", "hookswitch/store", true, "router's tests import store; move them to cmd or e2e"},
		{"hookswitch/schema", "hookswitch/router", false, "schema imports router; move the wiring to cmd"},
		{"hookswitch/bench/peers", "hookswitch/schema", false, "bench imports schema; move the wiring to cmd"},
		{"hookswitch/cmd/hookswitch", "hookswitch/bench/report", false, "cmd/hookswitch imports bench; the harness is a program of its own"},
		{"hookswitch/router", "hookswitch/bench/hooksim", false, "router imports bench/hooksim; move the wiring to cmd"},
		{"hookswitch/helpers", "hookswitch/schema", false, "helpers is no room of this house; put it into one, or draw it in CONTRIBUTING.md and arrows_test.go"},
	} {
		found := ""
		if err := checkImport(tc.importer, tc.imported, tc.test); err != nil {
			found = err.Error()
		}
		if found != tc.want {
			t.Errorf("%s imports %s: found %q; want %q", tc.importer, tc.imported, found, tc.want)
		}
	}
}

// checkImport says what is wrong with one package's import of another, nil where nothing is.
func checkImport(importer, imported string, test bool) error {
	from, err := room(importer)
	if err != nil {
		return err
	}
	if imported != module && !strings.HasPrefix(imported, module+"/") {
		return nil // not ours
	}
	to, err := room(imported)
	if err != nil {
		return err
	}
	switch {
	case from == to || slices.Contains(arrows[from], to) || test && to == simulator:
		return nil
	case to == "bench":
		return fmt.Errorf("%s imports bench; the harness is a program of its own", from)
	case test:
		return fmt.Errorf("%s's tests import %s; move them to cmd or e2e", from, to)
	}
	return fmt.Errorf("%s imports %s; move the wiring to cmd", from, to)
}

// room returns the room that a package of ours is in: the innermost listed folder.
func room(path string) (string, error) {
	folder := strings.TrimPrefix(path, module+"/")
	for r := folder; ; {
		if _, ok := arrows[r]; ok {
			return r, nil
		}
		i := strings.LastIndexByte(r, '/')
		if i < 0 {
			return "", fmt.Errorf("%s is no room of this house; put it into one, or draw it in CONTRIBUTING.md and arrows_test.go", folder)
		}
		r = r[:i]
	}
}

type listedPackage struct {
	ImportPath, Dir                    string
	Imports, TestImports, XTestImports []string
}

// packages lists every package of the module but this one.
func packages(t *testing.T) []listedPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []listedPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		// go test caches a result until a file changes that the test itself looked at; go list's
		// looking doesn't count.
		for _, dir := range []string{p.Dir, filepath.Dir(p.Dir)} {
			if _, err := os.ReadDir(dir); err != nil {
				t.Fatal(err)
			}
		}
		if p.ImportPath != module {
			all = append(all, p)
		}
	}
	if len(all) < 2 {
		t.Fatalf("go list found %d packages; want the whole house", len(all))
	}
	return all
}
