package schema

import (
	"cmp"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing that is wrong with a configuration file. Found never holds a secret's text.
type Fault struct {
	File         string
	Line, Column int    // both from 1
	Key          string // projects[0].hooks[0].method; "document" where the text is no YAML
	Found, Want  string
}

// Error returns "FILE:LINE:COL: key: found …; want …", without the place where there is no file.
func (f Fault) Error() string {
	if f.File == "" {
		return fmt.Sprintf("%s: found %s; want %s", f.Key, f.Found, f.Want)
	}
	return fmt.Sprintf("%s:%d:%d: %s: found %s; want %s", f.File, f.Line, f.Column, f.Key, f.Found, f.Want)
}

func (f Fault) compare(g Fault) int {
	return cmp.Or(cmp.Compare(f.Line, g.Line), cmp.Compare(f.Column, g.Column), strings.Compare(f.Key, g.Key))
}

// Faults is every fault of a file, by position. As an error it prints one a line.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Error()
	}
	return strings.Join(lines, "\n")
}

// ProjectError says which project can't be made ready, though its values are sound one by one.
type ProjectError struct {
	ID  string
	Err error
}

func (e *ProjectError) Error() string { return "project " + e.ID + ": " + e.Err.Error() }

// Unwrap returns what is wrong with the project.
func (e *ProjectError) Unwrap() error { return e.Err }

// Project returns the project's id.
func (e *ProjectError) Project() string { return e.ID }

// path is the way from the document's root to a value: a mapping's key or a sequence's item, and
// what that is part of. The nil path is the root itself.
type path struct {
	up    *path
	key   string
	index int // of an item; -1 for a key
	depth int
}

func (p *path) field(key string) *path {
	return &path{up: p, key: key, index: -1, depth: p.level() + 1}
}
func (p *path) item(i int) *path { return &path{up: p, index: i, depth: p.level() + 1} }

func (p *path) level() int {
	if p == nil {
		return 0
	}
	return p.depth
}

// String prints the path as an operator would: projects[0].hooks[0].method.
func (p *path) String() string {
	switch {
	case p == nil:
		return ""
	case p.index >= 0:
		return fmt.Sprintf("%s[%d]", p.up, p.index)
	case !plainKey(p.key):
		return fmt.Sprintf("%s[%q]", p.up, excerpt(p.key))
	case p.up == nil:
		return p.key
	}
	return p.up.String() + "." + p.key
}

func plainKey(key string) bool { return key != "" && len(key) <= 64 && every(key, isLoginByte) }

// find returns the node at p, or the innermost one on the way to it and false. Faults are rare, so
// positions are looked for when there is one, and not noted beforehand.
func (l *loader) find(p *path) (node *yaml.Node, exact bool) {
	if p == nil {
		return resolved(l.root), l.root != nil
	}
	up, exact := l.find(p.up)
	if !exact {
		return up, false
	}
	switch {
	case p.index >= 0 && up.Kind == yaml.SequenceNode && p.index < len(up.Content):
		return resolved(up.Content[p.index]), true
	case p.index < 0 && up.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(up.Content); i += 2 {
			if resolved(up.Content[i]).Value == p.key {
				return resolved(up.Content[i+1]), true
			}
		}
	}
	return up, false
}

// resolved follows an alias to what it stands for.
func resolved(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// has reports whether the file says anything at p.
func (l *loader) has(p *path) bool {
	n, exact := l.find(p)
	return exact && n.ShortTag() != "!!null"
}

// fault reports the value at p, as it stands in the file: with its ${NAME}, not with what that
// stands for.
func (l *loader) fault(p *path, want string, args ...any) {
	n, exact := l.find(p)
	found := "nothing"
	if exact {
		found = describe(n)
	}
	l.faultFound(p, found, want, args...)
}

// note is of what is sound, and worth knowing all the same.
func (l *loader) note(p *path, text string, args ...any) {
	line, column := 1, 1
	if n, _ := l.find(p); n != nil {
		line, column = max(n.Line, 1), max(n.Column, 1)
	}
	l.notes = append(l.notes, fmt.Sprintf("%s:%d:%d: note: %s: ", l.file, line, column, p)+fmt.Sprintf(text, args...))
}

// faultSecret is fault for a value that must not be seen.
func (l *loader) faultSecret(p *path, want string, args ...any) {
	if !l.has(p) {
		l.fault(p, want, args...)
		return
	}
	l.faultFound(p, "a secret", want, args...)
}

// faultFound is fault with the finding in the caller's words.
func (l *loader) faultFound(p *path, found, want string, args ...any) {
	for up := p; up != nil; up = up.up {
		if len(l.refused) > 0 && l.refused[up.String()] {
			return
		}
	}
	n, _ := l.find(p)
	l.faultAt(n, p, found, want, args...)
}

// faultAt is faultFound for a node that is at hand.
func (l *loader) faultAt(n *yaml.Node, p *path, found, want string, args ...any) {
	f := Fault{File: l.file, Line: 1, Column: 1, Key: p.String(), Found: found, Want: fmt.Sprintf(want, args...)}
	if p == nil {
		f.Key = "document"
	}
	if n != nil {
		f.Line, f.Column = max(n.Line, 1), max(n.Column, 1)
	}
	l.faults = append(l.faults, f)
}

// describe says what a node is: a scalar's own text, shortened, or its kind.
func describe(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		return fmt.Sprintf("%q", excerpt(n.Value))
	}
	return kindOf(n)
}

// kindOf says what a node is without its text, which may be a secret put in the wrong place.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	}
	return "text"
}
