package router

import "testing"

func TestAProjectIsFoundByItsNumbers(t *testing.T) {
	one := "projects:\n  - {id: \"1\", default_schema: s, schemas: [{id: s, steps: [{hangup: busy}]}], numbers: [{number: \"380442223344\", schema: s}]}\n"
	two := one + "  - {id: \"2\", default_schema: s, schemas: [{id: s, steps: [{hangup: busy}]}]}\n"
	for _, tc := range []struct {
		config, number, want string
	}{
		{two, "380442223344", "1"}, {two, "+380442223344", "1"}, {two, "00380442223344", "1"}, {two, "380440000000", ""}, {two, "", ""},
		{one, "380442223344", "1"}, {one, "380440000000", "1"}, {one, "", "1"},
	} {
		g := newRig(t, tc.config)
		if got, ok := g.ProjectOf(tc.number); got != tc.want || ok != (tc.want != "") {
			t.Errorf("%q: %q, %v; want %q", tc.number, got, ok, tc.want)
		}
	}
}
