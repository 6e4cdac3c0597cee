package schema

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// CheckProject checks a project that the API manages as Load checks one of a file, and that no other
// project of among has its numbers and links; among may hold an older form of it. Afterwards it can be
// used as it is: destinations are parsed, hours compiled, numbers without "+", and webhooks and links
// without an id have one. p is the caller's alone until then.
//
// A project that the API manages may not name files of this machine (tls), nor hold "***" for a secret.
//
// The error is Faults whose Keys are paths from the project, "schemas[0].steps[1].dial[0]".
func CheckProject(p *Project, among *Config) error {
	l := newLoader("", LoadOptions{})
	l.managed, l.pace = true, new(Pace)
	l.root = newEncoder(true).value(reflect.ValueOf(p).Elem())
	l.checkHidden(l.root, nil)
	check := projectCheck{loader: l, Project: p, otherwise: p.DefaultSchema}
	check.check(among, map[string]*path{})
	check.checkOthers(among)
	return l.outcome()
}

// checkHidden wants no secret that is only what a secret shows.
func (l *loader) checkHidden(n *yaml.Node, at *path) {
	switch {
	case n.Kind == yaml.SequenceNode:
		for i := range n.Content {
			l.checkHidden(n.Content[i], at.item(i))
		}
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			l.checkHidden(n.Content[i+1], at.field(n.Content[i].Value))
		}
	case n.LineComment == secretMark && n.Value == hidden:
		l.faultFound(at, "the stars that a secret shows", "the secret itself, as there is none yet, or it is to be sent elsewhere now")
	}
}

// checkOthers wants the project's numbers and tokens to be nobody else's.
func (p *projectCheck) checkOthers(among *Config) {
	numbers := make(map[string]int, len(p.Numbers))
	for i := range p.Numbers {
		numbers[p.Numbers[i].Number] = i
	}
	for _, other := range among.Projects {
		if other.ID == p.ID {
			continue
		}
		for j := range other.Numbers {
			if i, twice := numbers[other.Numbers[j].Number]; twice {
				p.fault(p.at.field("numbers").item(i).field("number"), "a number that stands nowhere else; another project has it")
			}
		}
		for j := range other.Incoming {
			for _, sum := range other.Incoming[j].TokenSums() {
				if at := p.links[sum]; at != nil {
					p.faultSecret(at, "a token that no other link has")
				}
			}
		}
	}
}

// Merge makes one configuration of a file's and of the projects that the API manages, each of which
// has been through CheckProject. It is cheap: nothing is checked again that concerns one project
// alone, and the projects are shared, not copied.
//
// The result can always be used. What can't be in it is left out and named in the Faults, nil where
// there is nothing: a project that the file declares too; one that needs the installation's
// default_schema where there is none; and of a number or link that two projects have (made through two
// instances at the same moment), the one of the project whose id comes later. The file's come first.
func Merge(file *Config, managed []*Project) (*Config, Faults) {
	m := merge{numbers: make(map[uint64]*Project, countNumbers(file.Projects)+countNumbers(managed)), links: map[[sha256.Size]byte]*Project{}}
	merged := *file
	merged.Projects = make([]*Project, 0, len(file.Projects)+len(managed))
	declared := make(map[string]bool, len(file.Projects))
	for _, p := range file.Projects {
		declared[p.ID] = true
		merged.Projects = append(merged.Projects, m.add(p))
	}
	managed = slices.Clone(managed)
	slices.SortFunc(managed, func(a, b *Project) int { return cmp.Compare(a.ID, b.ID) })
	for _, p := range managed {
		switch {
		case declared[p.ID]:
			m.fault(p, "id", strconv.Quote(p.ID), "an id that the configuration file does not declare; its project is used")
		case p.DefaultSchema == "" && file.DefaultSchema == "":
			m.fault(p, "default_schema", "nothing", "the id of a scheme, now that the installation has no default_schema; the project is left out")
		default:
			merged.Projects = append(merged.Projects, m.add(p))
		}
	}
	return &merged, m.faults
}

func countNumbers(projects []*Project) (n int) {
	for _, p := range projects {
		n += len(p.Numbers)
	}
	return n
}

// merge is one Merge at work.
type merge struct {
	pace    Pace
	numbers map[uint64]*Project // by numberKey
	links   map[[sha256.Size]byte]*Project
	faults  Faults
}

// numberKey is a number's digits, 15 at most, and how many zeros they begin with.
func numberKey(digits string) uint64 {
	n := uint64(1)
	for i := range len(digits) {
		n = 10*n + uint64(digits[i]-'0')
	}
	return n
}

// add takes the project's numbers and links, and returns it, or a copy without those that are taken.
func (m *merge) add(p *Project) *Project {
	m.pace.Breathe()
	freeNumber := func(i int) bool {
		key := numberKey(p.Numbers[i].Number)
		if owner := m.numbers[key]; owner != nil {
			m.fault(p, fmt.Sprintf("numbers[%d].number", i), strconv.Quote(p.Numbers[i].Number), "a number that stands nowhere else; project "+owner.ID+" has it and keeps it")
			return false
		}
		m.numbers[key] = p
		return true
	}
	freeLink := func(i int) bool {
		sums := p.Incoming[i].TokenSums()
		for _, sum := range sums {
			if owner := m.links[sum]; owner != nil {
				m.fault(p, fmt.Sprintf("incoming[%d]", i), "a token", "one that no other link has; project "+owner.ID+" has it and keeps it")
				return false
			}
		}
		for _, sum := range sums {
			m.links[sum] = p
		}
		return true
	}
	numbers, links := only(p.Numbers, freeNumber), only(p.Incoming, freeLink)
	if len(numbers) == len(p.Numbers) && len(links) == len(p.Incoming) {
		return p
	}
	less := *p
	less.Numbers, less.Incoming = numbers, links
	return &less
}

// only returns the items that are wanted: list itself, where all are.
func only[T any](list []T, wanted func(i int) bool) []T {
	var kept []T
	all := true
	for i := range list {
		switch want := wanted(i); {
		case want && !all:
			kept = append(kept, list[i])
		case !want && all:
			kept, all = slices.Clone(list[:i]), false
		}
	}
	if all {
		return list
	}
	return kept
}

func (m *merge) fault(p *Project, key, found, want string) {
	m.faults = append(m.faults, Fault{Line: 1, Column: 1, Key: fmt.Sprintf("projects[%q].%s", p.ID, key), Found: found, Want: want})
}
