package notify

import (
	"testing"
	"time"

	"hookswitch/schema"
)

func TestARetryComesWhenItsScheduleSays(t *testing.T) {
	noon := time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC)
	const never = -1
	for _, tc := range []struct {
		name, retry string
		attempt     int
		now, after  time.Duration // since the first attempt
		random      float64
		want        time.Duration // since the first attempt
	}{
		{"none is none", "none", 1, 0, 0, 0, never},
		{"the first after 30 minutes", "30m x 48", 1, 0, 0, 0, 30 * time.Minute},
		{"however long the request took", "30m x 48", 1, 10 * time.Second, 0, 0, 30 * time.Minute},
		{"the 48th after 24 hours", "30m x 48", 48, 23*time.Hour + 30*time.Minute + 9*time.Second, 0, 0, 24 * time.Hour},
		{"no 49th", "30m x 48", 49, 24 * time.Hour, 0, 0, never},
		{"in its rhythm after an outage of ours, and not for each that was missed", "30m x 48", 2, 3*time.Hour + time.Minute, 0, 0, 3*time.Hour + 30*time.Minute},
		{"no second time at once, exactly on the beat", "30m x 48", 2, time.Hour, 0, 0, 90 * time.Minute},
		{"at random within the first wait: the soonest", "5s..30m x 60", 1, 0, 0, 0, 2500 * time.Millisecond},
		{"at random within the first wait: the latest", "5s..30m x 60", 1, 0, 0, 1, 5 * time.Second},
		{"twice as long each time", "5s..30m x 60", 4, time.Minute, 0, 1, time.Minute + 40*time.Second},
		{"up to the longest", "5s..30m x 60", 60, time.Minute, 0, 1, 31 * time.Minute},
		{"as the receiver asks, where that is later", "5s..30m x 60", 1, time.Second, 7 * time.Minute, 1, 7*time.Minute + time.Second},
		{"and not sooner", "30m x 48", 1, 0, time.Minute, 0, 30 * time.Minute},
		{"not for as long as it likes", "30m x 48", 1, 0, 1000 * time.Hour, 0, 24 * time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := schema.ParseRetry(tc.retry)
			must(t, err)
			due, again := retryAt(r, tc.attempt, noon, noon.Add(tc.now), tc.after, tc.random)
			if !again && tc.want != never || again && due.Sub(noon) != tc.want {
				t.Errorf("got %v, %v after the first; want %v", again, due.Sub(noon), tc.want)
			}
		})
	}
}

func TestAnAnswersStatusEndsADeliveryWhereItIsASuccess(t *testing.T) {
	for _, tc := range []struct {
		success string
		want    []int
	}{
		{"200", []int{200}},
		{"2xx", []int{200, 201, 204, 299}},
		{"2xx-3xx", []int{200, 201, 204, 299, 301, 302, 399}},
	} {
		var got []int
		for _, status := range []int{0, 100, 199, 200, 201, 204, 299, 301, 302, 399, 400, 404, 410, 500} {
			if succeeded(tc.success, status) {
				got = append(got, status)
			}
		}
		if len(got) != len(tc.want) {
			t.Errorf("%s: got %v; want %v", tc.success, got, tc.want)
		}
	}
}
