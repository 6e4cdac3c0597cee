package schema

import (
	"testing"
	"time"
)

func TestRetriesAreReadAsTheyAreWritten(t *testing.T) {
	for _, tc := range []struct {
		text string
		want Retry
	}{
		{"none", Retry{}},
		{"", Retry{}},
		{"30m x 48", Retry{Every: 30 * time.Minute, Max: 30 * time.Minute, Times: 48}},
		{"5s..30m x 60", Retry{Jitter: true, Every: 5 * time.Second, Max: 30 * time.Minute, Times: 60}},
		{"5s..5s x 1", Retry{Jitter: true, Every: 5 * time.Second, Max: 5 * time.Second, Times: 1}},
		{"1ms x 1000", Retry{Every: time.Millisecond, Max: time.Millisecond, Times: 1000}},
		{"168hx1", Retry{Every: 7 * 24 * time.Hour, Max: 7 * 24 * time.Hour, Times: 1}},
	} {
		if got, err := ParseRetry(tc.text); err != nil || got != tc.want {
			t.Errorf("%q: got %+v, %v; want %+v", tc.text, got, err, tc.want)
		}
	}
	for _, text := range []string{"30m", "x 3", "30m x", "30m x 0", "30m x -1", "30m x 1001", "30 x 3", "30m y 3", "30m..5s x 3", "5s.. x 3",
		"..5s x 3", "5s...9s x 3", "0s x 3", "1us x 3", "-5s x 3", "169h x 3", "None", "5s..30m x 60 x 2"} {
		if got, err := ParseRetry(text); err == nil || got != (Retry{}) {
			t.Errorf("%q: got %+v; want it refused", text, got)
		}
	}
}

// What is accepted is within bounds, and prints as something that reads as the same.
func FuzzParseRetry(f *testing.F) {
	for _, text := range []string{"none", "30m x 48", "5s..30m x 60", "1h2m3.5s..9h x 1", "5s..30m"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRetry(text)
		if err != nil {
			return
		}
		if r != (Retry{}) && (r.Times < 1 || r.Times > maxRetries || r.Every < time.Millisecond || r.Max < r.Every || r.Max > maxRetryWait) {
			t.Errorf("%q: got %+v, out of bounds", text, r)
		}
		if again, err := ParseRetry(r.String()); err != nil || again != r {
			t.Errorf("%q prints as %q, which reads as %+v, %v; want %+v", text, r, again, err, r)
		}
	})
}
