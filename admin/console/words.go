package console

import (
	"strconv"
	"strings"
	"time"
)

// tone is how good news a reason, a source or a state is: "good", "warn", "bad" or "calm". Colour
// only repeats it: the word stands beside it.
func tone(name string) string {
	switch name {
	case "ok", "hook", "delivered", "closed_breaker", "active":
		return "good"
	case "closed", "last_good", "half_open", "waiting", "overloaded", "breaker_open", "repeated", "disabled":
		return "warn"
	case "schema", "":
		return "calm"
	}
	return "bad"
}

// shortFloat writes a figure with as many digits as are worth reading.
func shortFloat(f float64) string {
	digits := 1
	switch {
	case f >= 100 || f == 0:
		digits = 0
	case f < 1:
		digits = 2
	}
	s := strconv.FormatFloat(f, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// moment is a time as a page shows it: exact for machines, short for people. Times are UTC until a
// script writes them in the reader's own zone.
type moment struct{ Exact, Shown string }

func momentOf(t *texts, lang, at string) moment {
	parsed, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return moment{Shown: at}
	}
	parsed = parsed.UTC()
	return moment{Exact: parsed.Format(time.RFC3339Nano), Shown: t.get(lang, "unit.time", parsed.Format("2006-01-02 15:04:05"))}
}
