package schema

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a bare container has no zones of its own
)

// Hours are a scheme's working hours.
type Hours struct {
	// TZ is an IANA time zone name; empty is UTC.
	TZ string `yaml:"tz"`
	// Open lists intervals: "mon-fri 09:00-18:00", "sat,sun 10:00-14:00", "mon 22:00-06:00" (over
	// midnight), "09:00-18:00" (every day). An interval holds its first minute and not its last.
	// Without any, every hour is open that is not a holiday's.
	Open []string `yaml:"open"`
	// Holidays are days (2026-12-25, or 12-25 for every year) that are closed whole, and so is the
	// night that begins on one.
	Holidays []string `yaml:"holidays"`
	// ClosedSchema is followed outside the hours; empty for the default scheme.
	ClosedSchema string `yaml:"closed_schema"`

	compiled *compiledHours
}

// Compile reads the hours' texts; it must come before IsOpen. The loader calls it for hours that
// come from a file. The error names everything that is wrong.
func (h *Hours) Compile() error {
	var faults []error
	zone, err := time.LoadLocation(h.TZ)
	if err != nil {
		faults = append(faults, fmt.Errorf("tz: %q is no time zone; want an IANA name, such as Europe/Kyiv", h.TZ))
	}
	h.compiled = h.compile(zone, func(key string, i int, err error) {
		faults = append(faults, fmt.Errorf("%s[%d]: want %w", key, i, err))
	})
	if len(faults) > 0 {
		h.compiled = nil
	}
	return errors.Join(faults...)
}

// IsOpen reports whether t is within working hours, by the clocks of the hours' zone: an hour that
// clocks show twice counts twice, one that they skip does not come. Nil hours are always open, and
// so are hours that were not compiled.
func (h *Hours) IsOpen(t time.Time) bool {
	if h == nil || h.compiled == nil {
		return true
	}
	c := h.compiled
	t = t.In(c.zone)
	year, month, day := t.Date()
	if c.holiday(year, month, day) {
		return false
	}
	if c.always {
		return true
	}
	hour, minute, _ := t.Clock()
	now, today := hour*60+minute, t.Weekday()
	for _, s := range c.week[today] {
		if s.from <= now && now < s.to {
			return true
		}
	}
	for _, s := range c.week[(today+6)%7] {
		if now+dayMinutes < s.to {
			return !c.holiday(time.Date(year, month, day-1, 0, 0, 0, 0, time.UTC).Date())
		}
	}
	return false
}

const dayMinutes = 24 * 60

// compiledHours are hours as IsOpen reads them.
type compiledHours struct {
	zone     *time.Location
	always   bool          // there are no intervals, only holidays
	week     [7][]span     // by the weekday on which a span begins
	holidays map[date]bool // a date's year is 0 for every year
}

// span is an interval in minutes of the day it begins on; past midnight it goes beyond 24:00.
type span struct{ from, to int }

type date struct {
	year  int
	month time.Month
	day   int
}

func (c *compiledHours) holiday(year int, month time.Month, day int) bool {
	return len(c.holidays) > 0 && (c.holidays[date{year, month, day}] || c.holidays[date{0, month, day}])
}

// compile reads the hours, and tells refuse of each text that is wrong: its key, its place in the
// list, and what is wanted.
func (h *Hours) compile(zone *time.Location, refuse func(key string, i int, err error)) *compiledHours {
	c := &compiledHours{zone: zone, always: len(h.Open) == 0, holidays: map[date]bool{}}
	if zone == nil {
		c.zone = time.UTC // refused already
	}
	for i, text := range h.Open {
		if err := c.addInterval(text); err != nil {
			refuse("open", i, err)
		}
	}
	for i, text := range h.Holidays {
		d, ok := parseHoliday(text)
		if !ok {
			refuse("holidays", i, errors.New("a date, 2026-12-25, or 12-25 for every year"))
		}
		c.holidays[d] = true
	}
	return c
}

var errInterval = errors.New(`hours such as "mon-fri 09:00-18:00", "sat,sun 10:00-14:00", "fri 22:00-06:00" or "00:00-24:00"`)

// addInterval reads [DAYS] HH:MM-HH:MM. DAYS are days and ranges of days joined by commas; a range
// may go round the week's end.
func (c *compiledHours) addInterval(text string) error {
	days, hours := "mon-sun", strings.ToLower(trimBlanks(text))
	if before, after, found := strings.Cut(hours, " "); found {
		days, hours = before, trimBlanks(after)
	}
	from, to, found := strings.Cut(hours, "-")
	s := span{from: parseMinute(from), to: parseMinute(to)}
	switch {
	case !found || s.from < 0 || s.to < 0 || s.from == dayMinutes:
		return errInterval
	case s.from == s.to:
		return errors.New(`an interval that ends at another minute than it begins; "00:00-24:00" is a whole day`)
	case s.to < s.from:
		s.to += dayMinutes
	}
	var on [7]bool
	for part := range strings.SplitSeq(days, ",") {
		first, last, ranged := strings.Cut(part, "-")
		from, to := parseWeekday(first), parseWeekday(last)
		if !ranged {
			to = from
		}
		if from < 0 || to < 0 {
			return errInterval
		}
		for day := from; ; day = (day + 1) % 7 {
			on[day] = true
			if day == to {
				break
			}
		}
	}
	for day := range on {
		if on[day] {
			c.week[day] = append(c.week[day], s)
		}
	}
	return nil
}

// parseMinute reads HH:MM as a minute of the day, 24:00 included; -1 for anything else.
func parseMinute(s string) int {
	if len(s) != 5 || s[2] != ':' || !allDigits(s[:2]) || !allDigits(s[3:]) {
		return -1
	}
	hour, minute := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	if minute > 59 || hour*60+minute > dayMinutes {
		return -1
	}
	return hour*60 + minute
}

// parseWeekday reads mon to sun as a time.Weekday; -1 for anything else.
func parseWeekday(s string) int {
	const names = "sunmontuewedthufrisat"
	if i := strings.Index(names, s); len(s) == 3 && i >= 0 && i%3 == 0 {
		return i / 3
	}
	return -1
}

func parseHoliday(s string) (date, bool) {
	if t, err := time.Parse("2006-01-02", s); err == nil && t.Year() > 0 {
		return date{t.Year(), t.Month(), t.Day()}, true
	}
	// In a leap year, so that 02-29 is a date.
	t, err := time.Parse("2006-01-02", "2000-"+s)
	return date{0, t.Month(), t.Day()}, err == nil
}
