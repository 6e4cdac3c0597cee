package store

import (
	"fmt"
	"slices"
	"testing"
)

func wantRecords(t *testing.T, what string, s Store, log, before string, limit int, want ...string) {
	t.Helper()
	list, err := s.ListRecords(t.Context(), log, before, limit)
	must(t, err)
	var got []string
	for _, r := range list {
		if r.Log != log {
			t.Errorf("%s: got a record of %q", what, r.Log)
		}
		got = append(got, r.ID+"="+string(r.Body))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q; want %q", what, got, want)
	}
}

func wantLogs(t *testing.T, s Store, want ...string) {
	t.Helper()
	got, err := s.Logs(t.Context())
	must(t, err)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("logs: got %q; want %q", got, want)
	}
}

func testRecords(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.AddRecords(ctx, 3))
	_, err := s.GetRecord(ctx, "crm", "1")
	wantErr(t, "a record of no log", err, ErrNotFound)
	wantLogs(t, s)
	must(t, s.AddRecords(ctx, 3, Record{"crm", "1", []byte("a")}, Record{"sms", "1", []byte("x")}, Record{"crm", "1", []byte("b")}))
	must(t, s.AddRecords(ctx, 3, Record{"crm", "1", []byte("c")}, Record{"crm", "2", nil}))
	r, err := s.GetRecord(ctx, "crm", "1")
	must(t, err)
	if r.Log != "crm" || r.ID != "1" || string(r.Body) != "abc" {
		t.Errorf("got %+v with the body %q", r, r.Body)
	}
	_, err = s.GetRecord(ctx, "crm", "3")
	wantErr(t, "a record that is not there", err, ErrNotFound)
	wantLogs(t, s, "crm", "sms")
	for i := 3; i <= 5; i++ {
		must(t, s.AddRecords(ctx, 3, Record{"crm", fmt.Sprint(i), []byte("a")}))
	}
	wantRecords(t, "the last three", s, "crm", "", 10, "5=a", "4=a", "3=a")
	must(t, s.AddRecords(ctx, 1, Record{"crm", "4", []byte("b")})) // nothing new, nothing to forget
	wantRecords(t, "one that has grown", s, "crm", "", 10, "5=a", "4=ab", "3=a")
	must(t, s.AddRecords(ctx, 1, Record{"crm", "6", []byte("a")}))
	wantRecords(t, "keeping less", s, "crm", "", 10, "6=a")
	wantRecords(t, "another log", s, "sms", "", 10, "1=x")
	for _, bad := range []Record{{"", "1", nil}, {"crm", "", nil}, {"crm", "a\x00", nil}} {
		if s.AddRecords(ctx, 3, Record{"sms", "2", nil}, bad) == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	wantRecords(t, "all or none", s, "sms", "", 10, "1=x")
}

func testForgetRecords(t *testing.T, s Store) {
	ctx := t.Context()
	for _, id := range []string{"3", "1", "2", "5", "4"} {
		must(t, s.AddRecords(ctx, 100, Record{"crm", id, []byte("a")}))
	}
	wantRecords(t, "the last two", s, "crm", "", 2, "5=a", "4=a")
	wantRecords(t, "those before", s, "crm", "4", 2, "3=a", "2=a")
	wantRecords(t, "before one that is not there", s, "crm", "35", 1, "3=a")
	wantRecords(t, "before the first", s, "crm", "1", 2)
	wantRecords(t, "before one after the last", s, "crm", "9", 1, "5=a")
	wantRecords(t, "none", s, "crm", "", 0)
	wantRecords(t, "of no log", s, "sms", "", 5)
	forget := func(before string, limit, want int) {
		t.Helper()
		if n, err := s.ForgetRecords(ctx, "crm", before, limit); err != nil || n != want {
			t.Errorf("forget before %s, %d at most: got %d, %v; want %d", before, limit, n, err, want)
		}
	}
	forget("4", 2, 2)
	forget("4", 2, 1)
	forget("4", 2, 0)
	wantRecords(t, "what is left", s, "crm", "", 10, "5=a", "4=a")
	must(t, s.AddRecords(ctx, 3, Record{"crm", "6", nil}, Record{"crm", "7", nil}))
	wantRecords(t, "what is kept of four", s, "crm", "", 10, "7=", "6=", "5=a")
	forget("9", 10, 3)
	wantLogs(t, s)
	forget("9", 10, 0)
}
