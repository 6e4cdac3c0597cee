package schema

import "time"

// Hours are a scheme's working hours.
type Hours struct {
	// TZ is an IANA time zone name; empty is UTC.
	TZ string `yaml:"tz"`
	// Open lists intervals: "mon-fri 09:00-18:00", "sat,sun 10:00-14:00", "mon 22:00-06:00" (over
	// midnight), "09:00-18:00" (every day). An interval holds its first minute and not its last.
	Open []string `yaml:"open"`
	// Holidays are days (2026-12-25, or 12-25 for every year) that are closed whole.
	Holidays []string `yaml:"holidays"`
	// ClosedSchema is followed outside the hours; empty for the default scheme.
	ClosedSchema string `yaml:"closed_schema"`

	compiled *compiledHours
}

// Open reports whether t is within working hours; nil hours are always open.
func (h *Hours) IsOpen(t time.Time) bool { panic("not built yet") }

type compiledHours struct{}
