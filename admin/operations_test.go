package admin

import (
	"maps"
	"strings"
	"testing"
)

func TestAPathLeadsToItsOperation(t *testing.T) {
	nop := func(*request) error { return nil }
	paths := newPaths([]operation{
		{"GET", "/api/v1/things", "", false, nop},
		{"POST", "/api/v1/things", "", false, nop},
		{"GET", "/api/v1/things/{id}", "", false, nop},
		{"POST", "/api/v1/things/all", "", false, nop},
		{"POST", "/api/v1/things/{id}/parts/{part}", "", false, nop},
	})
	for _, tc := range []struct {
		path  string
		allow string // "" where there is none
		args  map[string]string
	}{
		{"/api/v1/things", "GET, POST", nil},
		{"/api/v1/things/7", "GET", map[string]string{"id": "7"}},
		{"/api/v1/things/all", "POST", nil},
		{"/api/v1/things/7/parts/x.y", "POST", map[string]string{"id": "7", "part": "x.y"}},
		{"/api/v1/things/", "", nil},
		{"/api/v1/things/7/parts", "", nil},
		{"/api/v1/things/7/parts/", "", nil},
		{"/api/v1/things/7/parts/x/y", "", nil},
		{"/api/v1", "", nil},
		{"/api/v1/other", "", nil},
		{"/", "", nil},
		{"", "", nil},
	} {
		node, args := paths.find(tc.path)
		allow := ""
		if node != nil {
			allow = node.allow()
		}
		if allow != tc.allow || !maps.Equal(args, tc.args) {
			t.Errorf("%q: found %q with %v; want %q with %v", tc.path, allow, args, tc.allow, tc.args)
		}
	}
}

func TestTheTableNamesEveryOperationOnceAndWhatItNeeds(t *testing.T) {
	seen := map[string]bool{}
	for _, op := range operations() {
		name := op.Method + " " + op.Path
		switch {
		case seen[name]:
			t.Errorf("%s stands twice", name)
		case !strings.HasPrefix(op.Path, "/api/v1/"):
			t.Errorf("%s stands outside /api/v1/", name)
		case op.handle == nil:
			t.Errorf("%s has no handler", name)
		case op.Scope == "" && op.Project:
			t.Errorf("%s is open to anybody and about a project", name)
		case op.Method == "GET" && op.Scope == scopeWrite, op.Method != "GET" && op.Scope == scopeRead && op.Path != "/api/v1/explain" && !strings.HasSuffix(op.Path, "/test"):
			t.Errorf("%s needs the scope %s", name, op.Scope)
		}
		seen[name] = true
	}
}

// A path that is found is the operation's pattern with what its names stand for in their places, each
// of them one segment.
func FuzzPath(f *testing.F) {
	for _, op := range operations() {
		f.Add(op.path())
	}
	f.Add("/api/v1//hooks/{id}/")
	paths := newPaths(operations())
	f.Fuzz(func(t *testing.T, path string) {
		node, args := paths.find(path)
		if node == nil {
			return
		}
		for _, op := range node.operations {
			rebuilt := strings.Split(op.Path, "/")
			for i, part := range rebuilt {
				if name, ok := strings.CutPrefix(part, "{"); ok {
					rebuilt[i] = args[strings.TrimSuffix(name, "}")]
					if rebuilt[i] == "" || strings.Contains(rebuilt[i], "/") {
						t.Errorf("%q: found %q for %s; want one segment", path, rebuilt[i], part)
					}
				}
			}
			if got := strings.Join(rebuilt, "/"); got != path && got != "/"+path {
				t.Errorf("%q led to %s with %v", path, op.Path, args)
			}
		}
	})
}
