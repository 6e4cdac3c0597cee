package console

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hookswitch/schema"
)

// stepForm is one step of a scheme as fields, and what is wrong with it.
type stepForm struct {
	N              int // its place, -1 for the one that new ones are copied from
	Kind           string
	Hooks, Schemas []option
	Errors         []stepError
	Locked         bool

	step object
}

type stepError struct{ Field, Says string }

// newStepForm makes the form of the step at a place of a field; a nil step is an empty one.
func newStepForm(f filled, n int, step object) stepForm {
	s := stepForm{N: n, step: step, Locked: f.Locked, Hooks: f.hooks, Schemas: f.schemas}
	for _, kind := range stepKinds {
		if step.At(kind) != nil {
			s.Kind = kind
		}
	}
	for path, says := range f.Inner {
		if rest, ok := strings.CutPrefix(path, fmt.Sprintf("[%d]", n)); ok {
			s.Errors = append(s.Errors, stepError{strings.TrimPrefix(rest, "."), strings.Join(says, " ")})
		}
	}
	slices.SortFunc(s.Errors, func(a, b stepError) int { return cmp.Compare(a.Field, b.Field) })
	return s
}

// Shown is the step's number as people count.
func (s stepForm) Shown() int { return s.N + 1 }

// Value returns what a field of the step holds.
func (s stepForm) Value(key string) string {
	if key == "dial" {
		return strings.Join(s.step.Strings("dial"), "\n")
	}
	return s.step.Text(key)
}

func (s stepForm) Kinds() []string { return stepKinds }

func (s stepForm) Causes() []string { return schema.HangupCauses }

func (s stepForm) Strategies() []schema.Strategy {
	return []schema.Strategy{schema.All, schema.InOrder, schema.Random, schema.RoundRobin}
}
