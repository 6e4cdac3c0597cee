package console

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// widget is how a field is edited.
type widget string

const (
	asText   widget = "text"
	asLong   widget = "long"   // text of several lines
	asNumber widget = "number" // a JSON number
	asCheck  widget = "check"  // true or false
	asChoice widget = "choice" // one of Choices
	asOne    widget = "one"    // the id of one of the project's From
	asLines  widget = "lines"  // a list of texts, one a line
	asJSON   widget = "json"   // anything, as its JSON text
	asPairs  widget = "pairs"  // an object of texts, one "name: value" a line
	asRows   widget = "rows"   // a list of objects of two texts, one "left: right" a line
	asSteps  widget = "steps"  // a scheme's steps
	asMoment widget = "moment" // a date and time, UTC
)

// field is one value of a resource and how it is edited. Its label is the text field.KIND.PATH, its
// hint, where there is one, hint.KIND.PATH.
type field struct {
	Path    string // in the API's JSON: "breaker.failures"
	As      widget
	Choices []string
	From    string    // schemas or hooks
	Keys    [2]string // of asRows
	// Fixed fields can't be changed once the thing is there. Needed ones must be filled in.
	Fixed, Needed bool
}

// section is some fields under one heading, the text section.KIND.NAME. Those that few need are closed
// at first.
type section struct {
	Name   string
	Closed bool
	Fields []field
}

// editor is a form at work: what a template shows of a resource.
type editor struct {
	Kind     string
	New      bool
	Locked   bool // nothing can be changed here
	Sections []filledSection
	Other    []problem // what is wrong with no field in particular
	Problems []problem // all of it, for the list at the top
	ETag     string
	Options  map[string][]option // by From
}

type filledSection struct {
	Name   string
	Open   bool
	Fields []filled
}

// filled is a field with its value.
type filled struct {
	field
	Kind   string
	Value  string
	On     bool // of asCheck
	Steps  []object
	Errors []string
	// Inner are the errors of parts of the value, by what follows the field's own path.
	Inner  map[string][]string
	Locked bool
	Among  []option

	hooks, schemas []option // of asSteps
}

type option struct{ ID, Name string }

// problem is something the API found wrong, and the field it is about.
type problem struct{ Path, Field, Says string }

// newEditor puts a resource's values, and what is wrong with them, into a form.
func newEditor(kind string, sections []section, o object, wrong map[string][]string) editor {
	e := editor{Kind: kind}
	taken := map[string]bool{}
	for _, s := range sections {
		fs := filledSection{Name: s.Name, Open: !s.Closed}
		for _, f := range s.Fields {
			one := filled{field: f, Kind: kind, Inner: map[string][]string{}}
			one.show(o)
			for path, says := range wrong {
				rest, ok := within(f.Path, path)
				if !ok || taken[path] {
					continue
				}
				taken[path], fs.Open = true, true
				if one.Inner[rest] = says; rest == "" || f.As != asSteps {
					one.Errors = append(one.Errors, says...)
				}
				for _, said := range says {
					e.Problems = append(e.Problems, problem{Path: path, Field: f.Path, Says: said})
				}
			}
			fs.Fields = append(fs.Fields, one)
		}
		e.Sections = append(e.Sections, fs)
	}
	for path, says := range wrong {
		for _, said := range says {
			if !taken[path] {
				e.Other = append(e.Other, problem{Path: path, Says: said})
			}
		}
	}
	byPath := func(all []problem) { sort.SliceStable(all, func(i, j int) bool { return all[i].Path < all[j].Path }) }
	byPath(e.Problems)
	byPath(e.Other)
	return e
}

// within reports whether a fault's path is that of the field or of a part of its value, and returns
// what follows.
func within(field, path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, field)
	if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
		return rest, true
	}
	return "", false
}

// show takes the field's value from a resource.
func (f *filled) show(o object) {
	value := o.At(f.Path)
	switch f.As {
	case asCheck:
		f.On, _ = value.(bool)
	case asLines:
		f.Value = strings.Join(o.Strings(f.Path), "\n")
	case asPairs:
		f.Value = linesOfPairs(value)
	case asRows:
		f.Value = linesOfRows(o.List(f.Path), f.Keys)
	case asJSON:
		if list, ok := value.([]any); value != nil && !(ok && len(list) == 0) {
			if text, ok := value.(string); ok { // could not be read last time
				f.Value = text
			} else if b, err := json.MarshalIndent(value, "", "  "); err == nil {
				f.Value = string(b)
			}
		}
	case asSteps:
		f.Steps = o.List(f.Path)
	default:
		f.Value = o.Text(f.Path)
	}
}

func linesOfPairs(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	m, _ := value.(map[string]any)
	lines := make([]string, 0, len(m))
	for name, one := range m {
		lines = append(lines, fmt.Sprintf("%s: %v", name, one))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func linesOfRows(rows []object, keys [2]string) string {
	lines := make([]string, len(rows))
	for i, row := range rows {
		lines[i] = row.Text(keys[0]) + ": " + row.Text(keys[1])
	}
	return strings.Join(lines, "\n")
}

// take puts what a visitor sent into o, the resource as the API has it: fields that the form does not
// have stay as they are. What can't be read as what it should be goes to the API as text, which says
// what it wants instead.
func (v *visit) take(sections []section, o object, isNew bool) {
	for _, s := range sections {
		for _, f := range s.Fields {
			if f.Fixed && !isNew {
				continue
			}
			o.set(f.Path, v.valueOf(f))
		}
	}
}

func (v *visit) valueOf(f field) any {
	text := v.form(f.Path)
	switch f.As {
	case asCheck:
		return text == "on"
	case asSteps:
		return v.steps()
	case asLong:
		return emptyIsNil(text)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	switch f.As {
	case asNumber:
		if _, err := strconv.ParseFloat(text, 64); err == nil && json.Valid([]byte(text)) {
			return json.Number(text)
		}
	case asLines:
		return lines(text)
	case asJSON:
		var value any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if d.Decode(&value) == nil && !d.More() {
			return value
		}
	case asPairs:
		m := map[string]any{}
		for _, line := range lines(text) {
			name, value := cut(line)
			m[name] = value
		}
		return m
	case asRows:
		rows := []any{}
		for _, line := range lines(text) {
			left, right := cut(line)
			rows = append(rows, map[string]any{f.Keys[0]: left, f.Keys[1]: right})
		}
		return rows
	}
	return text
}

func emptyIsNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// cut splits "name: value" at its first colon.
func cut(line string) (string, string) {
	left, right, _ := strings.Cut(line, ":")
	return strings.TrimSpace(left), strings.TrimSpace(right)
}

// lines splits text into its lines without the empty ones, each trimmed.
func lines(text string) []string {
	all := []string{}
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// stepKinds are what a step may do, by the keys of its JSON.
var stepKinds = []string{"dial", "hook", "schema", "voicemail", "playback", "hangup"}

// steps reads the steps that a form sent: fields "steps.N.kind" and so on, in the order in which the
// Ns come, for rows may have been moved. A row without a kind is an empty one.
func (v *visit) steps() any {
	var order []string
	for key := range v.http.PostArgs().All() {
		if rest, ok := strings.CutPrefix(string(key), "steps."); ok {
			if n, ok := strings.CutSuffix(rest, ".kind"); ok && !slices.Contains(order, n) && len(order) < maxSteps {
				order = append(order, n)
			}
		}
	}
	all := []any{}
	for _, n := range order {
		if step := v.step("steps." + n + "."); step != nil {
			all = append(all, step)
		}
	}
	return all
}

// maxSteps bounds what a form may send.
const maxSteps = 200

func (v *visit) step(at string) map[string]any {
	kind := v.form(at + "kind")
	if !slices.Contains(stepKinds, kind) {
		return nil
	}
	step := map[string]any{}
	value := strings.TrimSpace(v.form(at + kind))
	if kind != "dial" {
		step[kind] = value
		return step
	}
	// Destinations stand one a line, or with commas between them, as in an answer.
	list := lines(strings.ReplaceAll(value, ",", "\n"))
	if len(list) == 0 {
		list = []string{""} // so that the fault is that a destination is missing, and not that the step is none
	}
	step["dial"] = list
	for _, key := range []string{"strategy", "timeout", "moh", "announce"} {
		if text := strings.TrimSpace(v.form(at + key)); text != "" {
			step[key] = text
		}
	}
	return step
}
