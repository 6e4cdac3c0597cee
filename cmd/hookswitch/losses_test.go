package main

import (
	"fmt"
	"testing"

	"hookswitch/schema"
)

func TestWhatAFileNoLongerHasIsFound(t *testing.T) {
	project := func(id string, numbers ...string) *schema.Project {
		p := &schema.Project{ID: id}
		for _, n := range numbers {
			p.Numbers = append(p.Numbers, schema.Number{Number: n})
		}
		return p
	}
	was := []*schema.Project{project("a", "1", "2"), project("b", "3")}
	for _, tc := range []struct {
		name string
		now  []*schema.Project
		want string
	}{
		{"nothing is gone", was, "{[] []}"},
		{"something is new", []*schema.Project{project("c", "4"), was[0], was[1]}, "{[] []}"},
		{"a number is another project's now", []*schema.Project{project("a", "1"), project("b", "3", "2")}, "{[] []}"},
		{"a number is gone", []*schema.Project{project("a", "1"), was[1]}, "{[] [2]}"},
		{"a project is gone with its numbers", was[1:], "{[a] [1 2]}"},
		{"all are gone", nil, "{[a b] [1 2 3]}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := lossesOf(&schema.Config{Projects: was}, &schema.Config{Projects: tc.now})
			if text := fmt.Sprint(got); text != tc.want {
				t.Errorf("got %s; want %s", text, tc.want)
			}
		})
	}
}
