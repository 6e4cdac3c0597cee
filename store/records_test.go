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

func record(log, id, body string) Record { return Record{Log: log, ID: id, Body: []byte(body)} }

func heldRecord(id, body string) Record {
	return Record{Log: "crm", ID: id, Body: []byte(body), Held: true}
}

// addTo adds records, and returns how many held ones had to go.
func addTo(t *testing.T, s Store, keep int, records ...Record) int {
	t.Helper()
	dropped, err := s.AddRecords(t.Context(), keep, records...)
	must(t, err)
	return dropped
}

func testRecords(t *testing.T, s Store) {
	ctx := t.Context()
	addTo(t, s, 3)
	_, err := s.GetRecord(ctx, "crm", "1")
	wantErr(t, "a record of no log", err, ErrNotFound)
	wantLogs(t, s)
	addTo(t, s, 3, record("crm", "1", "a"), record("sms", "1", "x"), record("crm", "1", "b"))
	addTo(t, s, 3, record("crm", "1", "c"), record("crm", "2", ""))
	r, err := s.GetRecord(ctx, "crm", "1")
	must(t, err)
	if r.Log != "crm" || r.ID != "1" || string(r.Body) != "abc" {
		t.Errorf("got %+v with the body %q", r, r.Body)
	}
	_, err = s.GetRecord(ctx, "crm", "3")
	wantErr(t, "a record that is not there", err, ErrNotFound)
	wantLogs(t, s, "crm", "sms")
	for i := 3; i <= 5; i++ {
		addTo(t, s, 3, record("crm", fmt.Sprint(i), "a"))
	}
	wantRecords(t, "the last three", s, "crm", "", 10, "5=a", "4=a", "3=a")
	addTo(t, s, 1, record("crm", "4", "b")) // nothing new, nothing to forget
	wantRecords(t, "one that has grown", s, "crm", "", 10, "5=a", "4=ab", "3=a")
	addTo(t, s, 1, record("crm", "6", "a"))
	wantRecords(t, "keeping less", s, "crm", "", 10, "6=a")
	wantRecords(t, "another log", s, "sms", "", 10, "1=x")
	for _, bad := range []Record{record("", "1", ""), record("crm", "", ""), record("crm", "a\x00", "")} {
		if _, err := s.AddRecords(ctx, 3, record("sms", "2", ""), bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	wantRecords(t, "all or none", s, "sms", "", 10, "1=x")
}

func testForgetRecords(t *testing.T, s Store) {
	ctx := t.Context()
	for _, id := range []string{"3", "1", "2", "5", "4"} {
		addTo(t, s, 100, record("crm", id, "a"))
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
	addTo(t, s, 3, record("crm", "6", ""), record("crm", "7", ""))
	wantRecords(t, "what is kept of four", s, "crm", "", 10, "7=", "6=", "5=a")
	forget("9", 10, 3)
	wantLogs(t, s)
	forget("9", 10, 0)
}

// wantHeldRecords looks for the held records of "crm", which alone has some.
func wantHeldRecords(t *testing.T, s Store, before string, limit int, want ...string) {
	t.Helper()
	if logs, err := s.HeldLogs(t.Context()); err != nil || !slices.Equal(logs, []string{"crm"}) {
		t.Errorf("logs with held records: got %q, %v; want crm alone", logs, err)
	}
	list, err := s.ListHeld(t.Context(), "crm", before, limit)
	must(t, err)
	var got []string
	for _, r := range list {
		got = append(got, r.ID+"="+string(r.Body))
	}
	if !slices.Equal(got, want) {
		t.Errorf("held records before %q, %d at most: got %q; want %q", before, limit, got, want)
	}
}

func testHeldRecords(t *testing.T, s Store) {
	ctx := t.Context()
	addTo(t, s, 2, record("crm", "1", "a"), record("crm", "2", "a"))
	addTo(t, s, 2, heldRecord("1", "b"), heldRecord("0", "of no record before"))
	for i := 3; i < 9; i++ {
		addTo(t, s, 2, record("crm", fmt.Sprint(i), "a"))
	}
	wantRecords(t, "others push out each other alone", s, "crm", "", 10, "8=a", "7=a", "1=ab", "0=of no record before")
	addTo(t, s, 2, record("crm", "1", "c"))
	r, err := s.GetRecord(ctx, "crm", "1")
	if must(t, err); string(r.Body) != "abc" {
		t.Errorf("a held record that grows: got %q", r.Body)
	}
	wantRecords(t, "a page", s, "crm", "8", 2, "7=a", "1=abc")
	wantRecords(t, "the last page", s, "crm", "1", 2, "0=of no record before")
	wantHeldRecords(t, s, "", 5, "1=abc", "0=of no record before")
	wantHeldRecords(t, s, "", 1, "1=abc")
	wantHeldRecords(t, s, "1", 5, "0=of no record before")
	wantHeldRecords(t, s, "", 0)
	dropped := 0
	for i := 10; i < 30; i++ {
		dropped += addTo(t, s, 2, heldRecord(fmt.Sprint("2", i), "h"))
	}
	if dropped != 2 {
		t.Errorf("of 22 held ones with room for 20, %d were dropped", dropped)
	}
	wantRecords(t, "the lowest two went", s, "crm", "210", 5)
	if n, err := s.ForgetRecords(ctx, "crm", "220", 100); err != nil || n != 10 {
		t.Errorf("forget half of them: got %d, %v", n, err)
	}
	wantLogs(t, s, "crm")
	if n, err := s.ForgetRecords(ctx, "crm", "9", 100); err != nil || n != 12 {
		t.Errorf("forget the rest, the others too: got %d, %v", n, err)
	}
	wantLogs(t, s)
	addTo(t, s, 2, heldRecord("1", "a"))
	wantLogs(t, s, "crm")
	addTo(t, s, 2, record("sms", "1", "a"))
	wantHeldRecords(t, s, "", 5, "1=a")
	wantRecords(t, "a log of held ones alone", s, "crm", "", 10, "1=a")
}
