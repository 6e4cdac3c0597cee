package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// changes prints what has changed since, and where that leaves off.
func changes(t *testing.T, s Store, since uint64, limit int) (string, uint64) {
	t.Helper()
	list, err := s.Changed(t.Context(), "kind", since, limit)
	must(t, err)
	var out []string
	for _, d := range list {
		text := fmt.Sprint(d.ID, "@", d.Version, "=", string(d.Body))
		if d.Deleted {
			text = fmt.Sprint("-", d.ID, "@", d.Version, string(d.Body))
		}
		out = append(out, text)
		since = d.Version
	}
	return strings.Join(out, " "), since
}

func testChanged(t *testing.T, s Store) {
	v1 := put(t, s, "kind", "a", "1", 0)
	v2 := put(t, s, "kind", "b", "2", 0)
	put(t, s, "kind2", "a", "other", 0)
	put(t, s, "kin", "d\x01", "other", 0)
	v5 := put(t, s, "kind", "a", "3", v1)
	must(t, s.DeleteDoc(t.Context(), "kind", "b", v2))
	v7 := put(t, s, "kind", "c", "", 0)
	must(t, s.DeleteDoc(t.Context(), "kind", "c", v7))
	put(t, s, "kind", "c", "4", 0)
	for _, tc := range []struct {
		since uint64
		limit int
		want  string
	}{
		{0, 10, "a@5=3 -b@6 c@9=4"},
		{v5 - 1, 10, "a@5=3 -b@6 c@9=4"},
		{v5, 10, "-b@6 c@9=4"},
		{v5, 1, "-b@6"},
		{6, 10, "c@9=4"},
		{9, 10, ""},
		{0, 0, ""},
	} {
		if got, _ := changes(t, s, tc.since, tc.limit); got != tc.want {
			t.Errorf("since %d, %d: got %q; want %q", tc.since, tc.limit, got, tc.want)
		}
	}
	_, err := s.Changed(t.Context(), "kind", 10, 10)
	wantErr(t, "since a change that has not been", err, ErrTooOld)
}

func testForgotten(t *testing.T, s Store) {
	const remembered = 5
	switch s := s.(type) {
	case *Bolt:
		s.remember = remembered
	case *Redis:
		s.remember = remembered
	}
	put(t, s, "kind", "kept", "1", 0)
	var deletions []uint64
	for i := range 20 {
		v := put(t, s, "kind", fmt.Sprint(i), "", 0)
		must(t, s.DeleteDoc(t.Context(), "kind", fmt.Sprint(i), v))
		deletions = append(deletions, v+1)
	}
	last := deletions[len(deletions)-1]
	put(t, s, "kind", "19", "again", 0)
	put(t, s, "kind", "kept too", "2", 0)
	_, err := s.Changed(t.Context(), "kind", deletions[19-remembered]-1, 100)
	wantErr(t, "a deletion too many ago", err, ErrTooOld)
	_, err = s.Changed(t.Context(), "kind", 0, 100)
	wantErr(t, "since the beginning", err, ErrTooOld)
	want := ""
	for i, v := range deletions[20-remembered : 19] {
		want += fmt.Sprintf("-%d@%d ", 20-remembered+i, v)
	}
	want += fmt.Sprintf("19@%d=again kept too@%d=2", last+1, last+2)
	if got, _ := changes(t, s, deletions[19-remembered], 100); got != want {
		t.Errorf("got %q; want %q", got, want)
	}
	if list, err := s.Changed(t.Context(), "other kind", 0, 5); err != nil || len(list) != 0 {
		t.Errorf("another kind: got %v, %v", list, err)
	}
}

// A reader that applies what Changed says, page by page, has what ListDocs has, whatever is done.
func testFollowing(t *testing.T, s Store) {
	r := rand.New(rand.NewPCG(5, 6))
	versions, followed := map[string]uint64{}, map[string]string{}
	since := uint64(0)
	for step := range 400 {
		id := fmt.Sprint(r.IntN(12))
		if v := versions[id]; v != 0 && r.IntN(3) == 0 {
			must(t, s.DeleteDoc(t.Context(), "kind", id, v))
			delete(versions, id)
		} else {
			versions[id] = put(t, s, "kind", id, fmt.Sprint(step), v)
		}
		if r.IntN(10) > 0 {
			continue
		}
		for more := true; more; {
			list, err := s.Changed(t.Context(), "kind", since, 3)
			must(t, err)
			for _, d := range list {
				if followed[d.ID] = string(d.Body); d.Deleted {
					delete(followed, d.ID)
				}
				since = d.Version
			}
			more = len(list) == 3
		}
		all, err := s.ListDocs(t.Context(), "kind", "", "", 100)
		must(t, err)
		listed := map[string]string{}
		for _, d := range all {
			listed[d.ID] = string(d.Body)
		}
		if fmt.Sprint(listed) != fmt.Sprint(followed) {
			t.Fatalf("step %d: followed %v; listed %v", step, followed, listed)
		}
	}
}
