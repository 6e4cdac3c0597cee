package e2e

import (
	"encoding/json"
	"strings"
)

// logged returns the lines of the service's log with this message, each with its fields.
func (s *service) logged(msg string) []map[string]any {
	s.t.Helper()
	var found []map[string]any
	for line := range strings.Lines(s.log.all()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == msg {
			found = append(found, fields)
		}
	}
	return found
}

// all returns the whole of the log.
func (l *logBuffer) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
