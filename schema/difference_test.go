package schema

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// A project is the same as its copy, and the difference to another one is told, without a secret.
func TestTwoProjectsAreTheSameWhereTheirTextsAre(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	one := func() (*Project, string) {
		p := anyOf(reflect.TypeFor[Project](), r, 0).Interface().(Project)
		text, err := EncodeResource(&p, true)
		if err != nil {
			t.Fatal(err)
		}
		return &p, string(text)
	}
	p, text := one()
	for range 300 {
		q, other := one()
		c := &Project{}
		if err := DecodeResource([]byte(other), c); err != nil {
			t.Fatal(err)
		}
		c.Version = 7
		if !Same(q, c) || len(Differences(q, c, 10)) != 0 {
			t.Fatalf("%s differs from its copy", other)
		}
		if same, differences := Same(p, q), Differences(p, q, 10); same != (text == other) || same != (len(differences) == 0) || len(differences) > 10 {
			t.Fatalf("%s and %s: same is %v, and the differences are %v", text, other, same, differences)
		}
		p, text = q, other
	}
	if a, b := (&Project{ReadOnly: "a.yaml"}), (&Project{}); Same(a, b) {
		t.Error("a file's project is the same as the API's")
	}
}

func TestDifferencesAreNamedByIDsAndShowNoSecret(t *testing.T) {
	from := &Project{Name: "one", Hooks: []Hook{{ID: "a", Sign: NewSecret("hunter2-1"), Headers: map[string]Secret{"X": NewSecret("hunter2-2")}}, {ID: "gone"}}}
	to := &Project{Name: "two", Hooks: []Hook{{ID: "new"}, {ID: "a", Sign: NewSecret("hunter2-3")}}, Numbers: []Number{{Number: "443"}}}
	var got []string
	for _, d := range Differences(from, to, 20) {
		got = append(got, fmt.Sprintf("%s: %q %q", d.Key, d.From, d.To))
	}
	want := []string{`name: "one" "two"`, `hooks[a].headers: "a mapping" ""`, `hooks[a].sign: "***" "***"`, `hooks[gone]: "gone" ""`, `hooks[new]: "" "new"`, `numbers: "" "a list"`}
	if text := strings.Join(got, "; "); text != strings.Join(want, "; ") {
		t.Errorf("got  %s\nwant %s", text, strings.Join(want, "; "))
	}
	if list := Differences(from, to, 2); len(list) != 2 {
		t.Errorf("got %d; want no more than 2", len(list))
	}
	if Differences(nil, to, 5) != nil || Differences(from, nil, 5) != nil {
		t.Error("one that was made or deleted differs from nothing")
	}
}
