package schema

import (
	"strings"
	"testing"
	"time"
)

func compiled(t *testing.T, h Hours) *Hours {
	t.Helper()
	if err := h.Compile(); err != nil {
		t.Fatal(err)
	}
	return &h
}

// Times are wall-clock times of the zone; a zone's own offset is written where there are two of them.
func TestHours(t *testing.T) {
	kyiv := func(open ...string) Hours { return Hours{TZ: "Europe/Kyiv", Open: open} }
	for _, c := range []struct {
		name  string
		hours Hours
		at    string
		want  bool
	}{
		{"the first minute is open", kyiv("mon-fri 09:00-18:00"), "2026-11-16T09:00:00+02:00", true},
		{"the second before is closed", kyiv("mon-fri 09:00-18:00"), "2026-11-16T08:59:59+02:00", false},
		{"the last second is open", kyiv("mon-fri 09:00-18:00"), "2026-11-20T17:59:59+02:00", true},
		{"the end is closed", kyiv("mon-fri 09:00-18:00"), "2026-11-20T18:00:00+02:00", false},
		{"saturday is not in mon-fri", kyiv("mon-fri 09:00-18:00"), "2026-11-21T12:00:00+02:00", false},
		{"a list of days holds its last", kyiv("sat,sun 10:00-14:00"), "2026-11-22T10:00:00+02:00", true},
		{"a list of days holds no other", kyiv("sat,sun 10:00-14:00"), "2026-11-20T10:00:00+02:00", false},
		{"days and ranges mix", kyiv("mon-wed,fri 10:00-14:00"), "2026-11-20T10:00:00+02:00", true},
		{"days and ranges leave gaps", kyiv("mon-wed,fri 10:00-14:00"), "2026-11-19T10:00:00+02:00", false},
		{"a range goes round the week's end", kyiv("fri-mon 10:00-14:00"), "2026-11-22T10:00:00+02:00", true},
		{"a range round the week's end holds its last day", kyiv("fri-mon 10:00-14:00"), "2026-11-23T10:00:00+02:00", true},
		{"a range round the week's end has an outside", kyiv("fri-mon 10:00-14:00"), "2026-11-24T10:00:00+02:00", false},
		{"capitals and blanks are harmless", kyiv(" Mon-Fri  09:00-18:00 "), "2026-11-16T09:00:00+02:00", true},
		{"several intervals a day: the first", kyiv("mon 09:00-13:00", "mon 14:00-18:00"), "2026-11-16T12:59:00+02:00", true},
		{"several intervals a day: between", kyiv("mon 09:00-13:00", "mon 14:00-18:00"), "2026-11-16T13:30:00+02:00", false},
		{"several intervals a day: the second", kyiv("mon 09:00-13:00", "mon 14:00-18:00"), "2026-11-16T14:00:00+02:00", true},
		{"without days, every day", kyiv("09:00-18:00"), "2026-11-22T09:00:00+02:00", true},
		{"24:00 is an end", kyiv("mon 09:00-24:00"), "2026-11-16T23:59:59+02:00", true},
		{"24:00 is not the next day", kyiv("mon 09:00-24:00"), "2026-11-17T00:00:00+02:00", false},
		{"00:00 is an end as well", kyiv("mon 22:00-00:00"), "2026-11-16T23:59:59+02:00", true},
		{"a whole day begins at midnight", kyiv("mon 00:00-24:00"), "2026-11-16T00:00:00+02:00", true},
		{"over midnight: the evening", kyiv("mon 22:00-06:00"), "2026-11-16T22:00:00+02:00", true},
		{"over midnight: the morning after", kyiv("mon 22:00-06:00"), "2026-11-17T05:59:00+02:00", true},
		{"over midnight: the end", kyiv("mon 22:00-06:00"), "2026-11-17T06:00:00+02:00", false},
		{"over midnight: not the morning before", kyiv("mon 22:00-06:00"), "2026-11-16T05:00:00+02:00", false},
		{"over midnight and the week's end", kyiv("sat 22:00-06:00"), "2026-11-22T05:00:00+02:00", true},
		{"the zone counts, not the caller's clock", kyiv("mon 00:00-01:00"), "2026-11-15T22:30:00Z", true},
		{"without a zone, UTC", Hours{Open: []string{"mon 09:00-18:00"}}, "2026-11-16T09:00:00Z", true},
		{"without intervals, always", Hours{}, "2026-11-22T03:00:00Z", true},

		{"spring: the hour before the skip", kyiv("02:00-03:00"), "2026-03-29T02:59:59+02:00", true},
		{"spring: an interval within the skipped hour never comes", kyiv("03:00-04:00"), "2026-03-29T04:00:00+03:00", false},
		{"spring: nine is nine, an hour after the skip", kyiv("mon-sun 09:00-18:00"), "2026-03-29T09:00:00+03:00", true},
		{"spring: and not by yesterday's clock", kyiv("mon-sun 09:00-18:00"), "2026-03-29T08:59:00+03:00", false},
		{"spring: the night over the skip", kyiv("sat 22:00-06:00"), "2026-03-29T05:30:00+03:00", true},
		{"spring: the night's end", kyiv("sat 22:00-06:00"), "2026-03-29T06:00:00+03:00", false},
		{"autumn: the doubled hour, the first time", kyiv("03:00-04:00"), "2026-10-25T03:30:00+03:00", true},
		{"autumn: the doubled hour, the second time", kyiv("03:00-04:00"), "2026-10-25T03:30:00+02:00", true},
		{"autumn: after both", kyiv("03:00-04:00"), "2026-10-25T04:00:00+02:00", false},
		{"autumn: the night's end by the new clock", kyiv("sat 22:00-06:00"), "2026-10-25T05:59:00+02:00", true},
		{"south of the equator the clocks change in April", Hours{TZ: "Australia/Sydney", Open: []string{"sun 09:00-18:00"}}, "2026-04-05T09:00:00+10:00", true},

		{"a holiday is closed", Hours{Holidays: []string{"2026-12-25"}}, "2026-12-25T12:00:00Z", false},
		{"a holiday is closed to its end", Hours{Holidays: []string{"2026-12-25"}}, "2026-12-25T23:59:59Z", false},
		{"the day after is not", Hours{Holidays: []string{"2026-12-25"}}, "2026-12-26T00:00:00Z", true},
		{"another year is not", Hours{Holidays: []string{"2026-12-25"}}, "2027-12-25T12:00:00Z", true},
		{"a yearly one comes every year", Hours{Holidays: []string{"12-25"}}, "2031-12-25T12:00:00Z", false},
		{"a leap day comes in leap years", Hours{Holidays: []string{"02-29"}}, "2028-02-29T12:00:00Z", false},
		{"a leap day is not the first of March", Hours{Holidays: []string{"02-29"}}, "2027-03-01T12:00:00Z", true},
		{"a holiday is the zone's day", Hours{TZ: "Europe/Kyiv", Holidays: []string{"2026-12-25"}}, "2026-12-24T22:30:00Z", false},
		{"a holiday's morning is closed to the night before", Hours{Open: []string{"22:00-06:00"}, Holidays: []string{"2026-12-25"}}, "2026-12-25T03:00:00Z", false},
		{"the night of a holiday does not begin", Hours{Open: []string{"22:00-06:00"}, Holidays: []string{"2026-12-25"}}, "2026-12-26T03:00:00Z", false},
		{"the night after does", Hours{Open: []string{"22:00-06:00"}, Holidays: []string{"2026-12-25"}}, "2026-12-27T03:00:00Z", true},
		{"a new year's night looks back to the last day of the old one", Hours{Open: []string{"22:00-06:00"}, Holidays: []string{"12-31"}}, "2027-01-01T03:00:00Z", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := compiled(t, c.hours).IsOpen(at); got != c.want {
				t.Errorf("%+v at %s: got %v; want %v", c.hours, c.at, got, c.want)
			}
		})
	}
}

func TestNoHoursAreAlwaysOpen(t *testing.T) {
	var h *Hours
	if !h.IsOpen(time.Unix(0, 0)) {
		t.Error("nil hours are closed")
	}
}

func TestCompileNamesEverythingThatIsWrong(t *testing.T) {
	h := Hours{TZ: "Nowhere", Open: []string{"mon 09:00-18:00", "9-18"}, Holidays: []string{"christmas"}}
	err := h.Compile()
	if err == nil {
		t.Fatal("compiled")
	}
	for _, want := range []string{`tz: "Nowhere"`, "open[1]:", "holidays[0]:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %q", want, err)
		}
	}
}

func TestIsOpenDoesNotAllocate(t *testing.T) {
	h := compiled(t, Hours{TZ: "Europe/Kyiv", Open: []string{"mon-fri 09:00-18:00", "22:00-06:00"}, Holidays: []string{"12-25", "2026-01-01"}})
	at := time.Date(2026, 11, 17, 3, 0, 0, 0, time.UTC)
	if n := testing.AllocsPerRun(100, func() { h.IsOpen(at) }); n != 0 {
		t.Errorf("%v allocations; want 0", n)
	}
}

// An interval that is accepted is open in its first minute and closed at its end, on each of its days.
func FuzzInterval(f *testing.F) {
	for _, s := range []string{"mon-fri 09:00-18:00", "sat,sun 10:00-14:00", "mon 22:00-06:00", "fri-mon 00:00-24:00", "09:00-09:00", "mon,,tue 1:00-2:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h := Hours{Open: []string{text}}
		if h.Compile() != nil {
			return
		}
		days := 0
		for day, spans := range h.compiled.week {
			for _, s := range spans {
				days++
				if s.from < 0 || s.from >= dayMinutes || s.to <= s.from || s.to > s.from+dayMinutes {
					t.Fatalf("%q: span %+v", text, s)
				}
				midnight := time.Date(2026, 11, 15+day, 0, 0, 0, 0, time.UTC) // the 15th is a Sunday
				last := midnight.Add(time.Duration(s.to)*time.Minute - time.Nanosecond)
				if !h.IsOpen(midnight.Add(time.Duration(s.from)*time.Minute)) || !h.IsOpen(last) {
					t.Errorf("%q: closed within %+v of day %d", text, s, day)
				}
			}
		}
		if days == 0 {
			t.Errorf("%q: accepted, and never open", text)
		}
	})
}
