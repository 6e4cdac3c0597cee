package schema

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Retry is when a delivery that failed is tried again: Times more, first after Every, and then after
// twice as long each time up to Max. Jitter says to spread the waits, so that a receiver that comes
// back is not met by all at once. The zero Retry is none.
type Retry struct {
	Jitter     bool
	Every, Max time.Duration
	Times      int
}

const wantRetry = `none, "30m x 48" (every 30 minutes, 48 times), or "5s..30m x 60" (twice as long each time up to 30 minutes, with jitter)`

const (
	maxRetries   = 1000
	maxRetryWait = 7 * 24 * time.Hour
)

// ParseRetry reads none, "30m x 48" or "5s..30m x 60"; "" is none. A wait is 1 ms to 7 days, and there
// are 1 to 1000.
func ParseRetry(text string) (Retry, error) {
	bad := errors.New("want " + wantRetry)
	if text == "" || text == "none" {
		return Retry{}, nil
	}
	waits, times, found := strings.Cut(text, "x")
	if !found {
		return Retry{}, bad
	}
	first, last, grows := strings.Cut(strings.TrimSpace(waits), "..")
	if !grows {
		last = first
	}
	every, err1 := time.ParseDuration(first)
	most, err2 := time.ParseDuration(last)
	n, err3 := strconv.Atoi(strings.TrimSpace(times))
	switch {
	case errors.Join(err1, err2, err3) != nil, n < 1, n > maxRetries:
		return Retry{}, bad
	case every < time.Millisecond, most < every, most > maxRetryWait:
		return Retry{}, bad
	}
	return Retry{Jitter: grows, Every: every, Max: most, Times: n}, nil
}

// String is what ParseRetry reads.
func (r Retry) String() string {
	switch {
	case r.Times == 0:
		return "none"
	case r.Jitter:
		return fmt.Sprintf("%v..%v x %d", tidy(r.Every), tidy(r.Max), r.Times)
	}
	return fmt.Sprintf("%v x %d", tidy(r.Every), r.Times)
}
