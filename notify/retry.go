package notify

import (
	"time"

	"hookswitch/schema"
)

// maxRetryAfter bounds how long a receiver can put us off.
const maxRetryAfter = 24 * time.Hour

// retryAt returns when a delivery is tried again whose attempt-th request, counted from 1, has failed,
// and false where that was the last. first is when its first request began: retries without jitter
// keep their rhythm from there, whatever the requests take; one that was missed is not made up for.
// after is what the receiver asked for, 0 for nothing; random is 0 to 1.
func retryAt(r schema.Retry, attempt int, first, now time.Time, after time.Duration, random float64) (time.Time, bool) {
	if attempt > r.Times {
		return time.Time{}, false
	}
	var due time.Time
	if r.Jitter {
		wait := backoff(r, attempt)
		due = now.Add(wait/2 + time.Duration(random*float64(wait/2)))
	} else {
		beats := max(time.Duration(attempt), now.Sub(first)/r.Every+1)
		due = first.Add(beats * r.Every)
	}
	if asked := now.Add(min(after, maxRetryAfter)); asked.After(due) {
		due = asked
	}
	return due, true
}

// backoff is the longest wait after the attempt-th request: twice as long each time, up to r.Max.
func backoff(r schema.Retry, attempt int) time.Duration {
	wait := r.Every
	for ; attempt > 1 && wait < r.Max; attempt-- {
		wait *= 2
	}
	return min(wait, r.Max)
}

// succeeded reports whether an answer's status ends a delivery: success is 200, 2xx or 2xx-3xx.
func succeeded(success string, status int) bool {
	switch success {
	case "200":
		return status == 200
	case "2xx-3xx":
		return status >= 200 && status < 400
	}
	return status >= 200 && status < 300
}
