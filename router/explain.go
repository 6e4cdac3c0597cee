package router

import (
	"fmt"
	"strings"
	"time"

	"hookswitch/schema"
)

// say adds a line to the decision's story, for a call that asks to be explained. Its arguments cost
// an allocation even where it does not, so the hot path asks first.
func (w *walk) say(format string, args ...any) {
	if w.call.Explain {
		w.d.Trail = append(w.d.Trail, fmt.Sprintf("%7.1f ms  ", milliseconds(time.Since(w.call.At)))+fmt.Sprintf(format, args...))
	}
}

// sayAttempts tells of the requests made since the last line.
func (w *walk) sayAttempts(a *schema.Answer) {
	if !w.call.Explain {
		return
	}
	for i := range a.Attempts[w.told:] {
		at := &a.Attempts[w.told+i]
		w.d.Trail = append(w.d.Trail, DescribeAttempt(at, w.told+i+1))
	}
	w.told = len(a.Attempts)
}

// DescribeAttempt tells of the nth request to a webhook in several lines: where, when, how long,
// what was sent, what came back, and what was wrong with it. Secrets have been removed.
func DescribeAttempt(at *schema.Attempt, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%7.1f ms  attempt %d: %s took %.1f ms: ", milliseconds(at.Began), n, at.URL, milliseconds(at.Took))
	if at.Status != 0 {
		fmt.Fprintf(&b, "status %d, ", at.Status)
	}
	b.WriteString(at.Reason.String())
	if at.Error != "" {
		b.WriteString(": " + at.Error)
	}
	indent(&b, "sent", at.Request)
	indent(&b, "received", at.Body)
	return b.String()
}

func indent(b *strings.Builder, title, text string) {
	if text == "" {
		return
	}
	b.WriteString("\n              " + title + ":")
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		b.WriteString("\n                " + strings.TrimRight(line, "\r\n"))
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
