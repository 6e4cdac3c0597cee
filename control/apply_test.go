package control

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"hookswitch/schema"
)

func TestAChangeThatCantBeMadeReadyIsNotStored(t *testing.T) {
	in := serve(t, bolt(t), fileProject)
	unfit := project("a", "380440000001")
	unfit.Name = "unfit"
	_, made := in.Create(t.Context(), "ops", unfit)
	version, err := in.Create(t.Context(), "ops", project("a", "380440000001"))
	must(t, err)
	_, changed := in.Update(t.Context(), "ops", "a", 0, func(p *schema.Project) error { p.Name = "unfit"; return nil })
	for what, err := range map[string]error{"made": made, "changed": changed} {
		var faults schema.Faults
		if !errors.As(err, &faults) || faults[0].Key != "name" {
			t.Errorf("%s: got %v; want the field", what, err)
		}
	}
	if list := in.Refused(); len(list) != 0 || in.Current().Projects[1].Version != version {
		t.Errorf("got %+v, version %d; want what was there", list, in.Current().Projects[1].Version)
	}
}

func TestAProjectThatCantBeAppliedHoldsUpNoOther(t *testing.T) {
	in := serve(t, bolt(t), fileProject)
	in.refusing("a", "")
	_, err := in.Create(t.Context(), "ops", project("a"))
	wantNotApplied(t, err)
	_, err = in.Create(t.Context(), "ops", project("b"))
	must(t, err)
	if got := in.shows(); got != "file 380440000009; b" || in.gauge("control_refused") != 1 {
		t.Errorf("got %s, %v refused", got, in.gauge("control_refused"))
	}
	if list := in.Refused(); len(list) != 1 || list[0].ID != "a" || list[0].Project == nil || list[0].Version != list[0].Project.Version || list[0].Fault == nil {
		t.Errorf("refused: got %+v", list)
	}
	must(t, in.Delete(t.Context(), "ops", "a", 0))
	if list := in.Refused(); len(list) != 0 || in.gauge("control_refused") != 0 {
		t.Errorf("deleted: got %+v", list)
	}
}

func wantNotApplied(t *testing.T, err error) {
	t.Helper()
	var not ErrNotApplied
	if !errors.As(err, &not) || not.Project != "a" || !strings.Contains(err.Error(), "is stored") {
		t.Errorf("got %v; want to be told that a is stored and not in use", err)
	}
}

// A hook that passed the schema and could not be made ready took its whole project, with all its
// numbers, out of use on every instance, and the API knew no such project any more.
func TestAProjectThatCantBeAppliedStaysWhatItWasAndCanBeMended(t *testing.T) {
	in := serve(t, bolt(t), fileProject)
	ctx := t.Context()
	first := project("a", "380440000001")
	first.Name = "sound"
	_, err := in.Create(ctx, "ops", first)
	must(t, err)
	in.refusing("a", "sound")
	v2, err := in.Update(ctx, "ops", "a", 0, func(p *schema.Project) error {
		p.Name = "of a newer version"
		return number("380440000002")(p)
	})
	wantNotApplied(t, err)
	if got := in.shows(); got != "file 380440000009; a 380440000001" {
		t.Errorf("got %s; want a as it was", got)
	}
	must(t, in.SetFile(configOf(t, fileProject))) // another application
	if got := in.shows(); got != "file 380440000009; a 380440000001" {
		t.Errorf("applied again: got %s; want a as it was", got)
	}
	list := in.Refused()
	if len(list) != 1 || list[0].Version != v2 || list[0].Project.Name != "of a newer version" || !strings.Contains(fmt.Sprint(list[0].Fault), "can't be used") {
		t.Fatalf("refused: got %+v", list)
	}
	_, err = in.Update(ctx, "ops", "a", v2, func(p *schema.Project) error {
		if p.Numbers[0].Number != "380440000002" {
			t.Errorf("got %v; want what is stored, to be mended", p.Numbers)
		}
		p.Name = "sound"
		return nil
	})
	must(t, err)
	if got := in.shows(); got != "file 380440000009; a 380440000002" || len(in.Refused()) != 0 {
		t.Errorf("mended: got %s, %+v refused", got, in.Refused())
	}
}

func TestAProjectThatCantBeReadIsToldOfAndCanBeDeletedOnly(t *testing.T) {
	in := serve(t, bolt(t), fileProject)
	ctx := t.Context()
	v, err := in.store.PutDoc(ctx, "project", "a", []byte(`{"id":"a","from_a_newer_version":1}`), 0)
	must(t, err)
	must(t, in.Sync(ctx))
	if list := in.Refused(); len(list) != 1 || list[0].Project != nil || list[0].Version != v {
		t.Errorf("refused: got %+v", list)
	}
	var unreadable ErrUnreadable
	if _, err := in.Update(ctx, "ops", "a", 0, number("380440000002")); !errors.As(err, &unreadable) {
		t.Errorf("changed: got %v; want to be told that it can't be read", err)
	}
	must(t, in.Delete(ctx, "ops", "a", v))
}
