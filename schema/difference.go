package schema

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Difference is one value that differs between two forms of a project. Key is its path, in which the
// elements of a list that have an id or a name stand under that: hooks[crm].url. From and To are its
// texts, shortened, "" where there is none and "***" for a secret.
type Difference struct {
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Differences lists what differs, at most limit values; it stops at that. An element that is new or
// gone is one value, its id. Either may be nil, for a project that was made or deleted: that is no
// difference but itself.
func Differences(from, to *Project, limit int) []Difference {
	if from == nil || to == nil {
		return nil
	}
	d := differences{limit: limit}
	e := newEncoder(true)
	d.compare("", e.value(reflect.ValueOf(from)), e.value(reflect.ValueOf(to)))
	return d.list
}

type differences struct {
	list  []Difference
	limit int
}

func (d *differences) add(key string, from, to *yaml.Node) {
	if len(d.list) < d.limit {
		d.list = append(d.list, Difference{strings.TrimPrefix(key, "."), shown(from), shown(to)})
	}
}

func (d *differences) compare(at string, from, to *yaml.Node) {
	switch {
	case from == nil || to == nil || from.Kind != to.Kind:
		d.add(at, from, to)
	case from.Kind == yaml.ScalarNode:
		if from.Value != to.Value {
			d.add(at, from, to)
		}
	default:
		a, b := partsOf(from), partsOf(to)
		was, is := byKey(a), byKey(b)
		for _, p := range a {
			d.compare(at+p.key, p.node, is[p.key])
		}
		for _, p := range b {
			if was[p.key] == nil {
				d.compare(at+p.key, nil, p.node)
			}
		}
	}
}

type part struct {
	key  string
	node *yaml.Node
}

// partsOf returns what a mapping or a list holds, by how it is written behind its path.
func partsOf(n *yaml.Node) (parts []part) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, part{"." + n.Content[i].Value, n.Content[i+1]})
		}
		return parts
	}
	seen := make(map[string]bool, len(n.Content))
	for i, item := range n.Content {
		key := "[" + nameOf(item) + "]"
		if key == "[]" || seen[key] {
			key = fmt.Sprintf("[%d]", i)
		}
		seen[key] = true
		parts = append(parts, part{key, item})
	}
	return parts
}

// nameOf returns what an element of a list is known by, "" for nothing.
func nameOf(n *yaml.Node) string {
	for _, key := range []string{"id", "number", "name"} {
		for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
			if n.Content[i].Value == key && n.Content[i+1].Value != "" {
				return excerpt(n.Content[i+1].Value)
			}
		}
	}
	return ""
}

func byKey(parts []part) map[string]*yaml.Node {
	m := make(map[string]*yaml.Node, len(parts))
	for _, p := range parts {
		m[p.key] = p.node
	}
	return m
}

func shown(n *yaml.Node) string {
	switch {
	case n == nil:
		return ""
	case n.LineComment == secretMark:
		return hidden
	case n.Kind == yaml.ScalarNode:
		return excerpt(n.Value)
	case nameOf(n) != "":
		return nameOf(n)
	}
	return kindOf(n)
}

// Same reports that two projects say the same, and that the files which they name held the same. Which
// reading of a file or which document they came with does not count, nor what was made of other values.
func Same(a, b *Project) bool {
	return a.ReadOnly == b.ReadOnly && same(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem())
}

func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	case reflect.Struct:
		t := a.Type()
		if t == secretType || t == tlsType {
			return a.Equal(b)
		}
		for i := range t.NumField() {
			if tag := t.Field(i).Tag.Get("yaml"); tag != "" && tag != "-" && !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() {
			return false
		}
		for _, key := range a.MapKeys() {
			if other := b.MapIndex(key); !other.IsValid() || !same(a.MapIndex(key), other) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}
