package schema

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func loadExample(t *testing.T, name string) (*Config, []byte) {
	t.Helper()
	text, err := os.ReadFile("../configs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load("configs/"+name, text, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	checkConfig(t, c)
	return c, text
}

func TestTheCommentedExampleShowsTheDefaults(t *testing.T) {
	got, _ := loadExample(t, "hookswitch.yaml")
	var want Config
	want.SetDefaults()
	project, hook, step := got.Projects[0], got.Projects[0].Hooks[0], got.Projects[0].Schemas[0].Steps[0]

	// An example has to be called something, and lists are empty by default.
	examples := []string{"ID", "Name", "DefaultSchema", "URL", "Headers", "Auth", "Sign", "Params", "Dial", "Destinations.Allow",
		"Destinations.Deny", "Intakes", "Numbers", "Schemas", "Hooks", "Webhooks", "Incoming",
		"Version", "ReadOnly"}
	got.Projects, got.SaysProjects, got.Admin.Tokens = nil, false, nil
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("the installation's settings: got %+v; want the defaults %+v", *got, want)
	}
	var p Project
	p.SetDefaults()
	sameBut(t, "projects[0]", reflect.ValueOf(*project), reflect.ValueOf(p), examples)
	var h Hook
	h.SetDefaults()
	sameBut(t, "projects[0].hooks[0]", reflect.ValueOf(hook), reflect.ValueOf(h), examples)
	var s Step
	s.SetDefaults()
	step.Dial, step.Destinations = nil, nil
	var w Webhook
	w.SetDefaults()
	sameBut(t, "projects[0].webhooks[0]", reflect.ValueOf(project.Webhooks[0]), reflect.ValueOf(w),
		[]string{"ID", "URL", "Event", "When", "Fields", "Params", "Headers", "Save"})
	var in Incoming
	in.SetDefaults()
	sameBut(t, "projects[0].incoming[0]", reflect.ValueOf(project.Incoming[0]), reflect.ValueOf(in), []string{"ID", "Token", "Fields", "Key", "Route"})
	sameBut(t, "projects[0].schemas[0].steps[0]", reflect.ValueOf(step), reflect.ValueOf(s), nil)
}

// sameBut compares two structs field by field, but for the fields named as examples.
func sameBut(t *testing.T, at string, got, want reflect.Value, examples []string) {
	t.Helper()
	for i := range got.NumField() {
		name := got.Type().Field(i).Name
		switch {
		case slices.Contains(examples, name):
		case got.Field(i).Kind() == reflect.Struct && got.Field(i).Type() != secretType:
			var inner []string
			for _, e := range examples {
				if rest, ok := strings.CutPrefix(e, name+"."); ok {
					inner = append(inner, rest)
				}
			}
			sameBut(t, at+"."+name, got.Field(i), want.Field(i), inner)
		case !reflect.DeepEqual(got.Field(i).Interface(), want.Field(i).Interface()):
			t.Errorf("%s.%s: the example shows %v; the default is %v", at, name, got.Field(i), want.Field(i))
		}
	}
}

// A key that the example lacks is one that no operator will find.
func TestTheCommentedExampleShowsEveryKey(t *testing.T) {
	_, text := loadExample(t, "hookswitch.yaml")
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	keys := map[reflect.Type]map[string]bool{}
	collectKeys(reflect.TypeFor[Config](), keys)
	dropKeys(document.Content[0], reflect.TypeFor[Config](), keys)
	for typ, missing := range keys {
		for key := range missing {
			// A key that can't stand beside its alternative is there as a comment.
			if !regexp.MustCompile(`(?m)^ *# ` + key + `: `).Match(text) {
				t.Errorf("%s: the key %s is missing in configs/hookswitch.yaml", typ, key)
			}
		}
	}
}

// inside returns the type of what is in lists, maps and pointers.
func inside(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t
}

func collectKeys(t reflect.Type, keys map[reflect.Type]map[string]bool) {
	if t = inside(t); t.Kind() != reflect.Struct || t == secretType || keys[t] != nil {
		return
	}
	keys[t] = map[string]bool{}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && f.Tag.Get("yaml") != "-" {
			keys[t][f.Tag.Get("yaml")] = true
			collectKeys(f.Type, keys)
		}
	}
}

func dropKeys(n *yaml.Node, t reflect.Type, keys map[reflect.Type]map[string]bool) {
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			dropKeys(item, t, keys)
		}
		return
	}
	if t = inside(t); n.Kind != yaml.MappingNode || t.Kind() != reflect.Struct {
		return
	}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i].Value
		delete(keys[t], key)
		for j := range t.NumField() {
			if t.Field(j).Tag.Get("yaml") == key {
				dropKeys(n.Content[i+1], t.Field(j).Type, keys)
			}
		}
	}
}

func TestTheDemoAsksTheCRMBesideItAndFallsBackToTheOperators(t *testing.T) {
	c, _ := loadExample(t, "demo.yaml")
	p := c.Projects[0]
	if p.ID != "1001" || !p.AllowPrivateHooks || c.Store != "bolt:data/demo.db" || p.DefaultSchema != "1" {
		t.Errorf("got project %+v, store %q", p, c.Store)
	}
	if n := p.Numbers; len(n) != 2 || n[0].Number != "380442223344" || n[0].Schema != "100" || n[1].Schema != "1" {
		t.Errorf("got numbers %+v", n)
	}
	ask := p.Schemas[1]
	if len(ask.Steps) != 2 || ask.Steps[0].Hook != "crm" || ask.Steps[1].Destinations[0].User != "380440000001" || ask.Steps[1].Timeout != 30*time.Second {
		t.Errorf("got scheme %+v", ask)
	}
	if h := p.Hooks[0]; h.URL != "http://127.0.0.1:8079/route" || h.RequestTimeout != 800*time.Millisecond {
		t.Errorf("got hook %+v", h)
	}
}

// The example of the design document, as it is written there.
func TestTheDesignsExampleLoads(t *testing.T) {
	c := load(t, "design")
	h := c.Projects[0].Hooks[0]
	if h.Headers["X-Api-Key"].Reveal() != "key" || h.Auth.Basic.Password.Reveal() != "p" || h.LastGood != 10*time.Minute || len(h.Params) != 5 {
		t.Errorf("got hook %+v", h)
	}
	if hours := c.Projects[0].Schemas[1].Hours; !hours.IsOpen(time.Date(2026, 11, 18, 8, 0, 0, 0, time.UTC)) {
		t.Error("10:00 of a Wednesday in Kyiv is closed")
	}
	w := c.Projects[0].Webhooks[0]
	if w.ID < 1 || w.Event != "destroy" || w.Fields[0] != (FieldRename{"callid", "id"}) || *w.Params[0].Value != "pbx" ||
		w.Headers[0].Value.Reveal() != "another secret" || w.Retry != "30m x 48" {
		t.Errorf("got webhook %+v", w)
	}
	if in := c.Projects[0].Incoming[0]; in.ID == "" || in.Token.Reveal() != "0123456789abcdef" || in.Key != "chat_id" || in.Keep != 24*time.Hour {
		t.Errorf("got link %+v", in)
	}
}
