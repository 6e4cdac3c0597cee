package intake

import (
	"strconv"
	"time"
	"unicode/utf8"

	"hookswitch/schema"
)

// jsonDialect is the plain JSON answer, one line, as DESIGN's "The JSON answer" has it.
var jsonDialect = dialect{
	contentType: "application/json",
	read:        readBody,
	decision: func(dst []byte, _ *question, d *schema.Decision) []byte {
		return append(appendDecisionJSON(dst, d), '\n')
	},
	fault: func(dst []byte, _ *question, f *fault) []byte {
		return append(appendFaultJSON(dst, f), '\n')
	},
	status: httpStatus,
}

// appendDecisionJSON appends the decision as one JSON object on one line. version, next, repeated and
// warnings stand in it only where there is something to say.
func appendDecisionJSON(dst []byte, d *schema.Decision) []byte {
	dst = append(dst, `{"decision_id":"`...)
	dst = append(dst, d.ID[:]...)
	dst = appendQuoted(append(dst, `","callid":`...), d.CallID)
	dst = appendQuoted(append(dst, `,"project":`...), d.Project)
	if d.Version > 0 {
		dst = strconv.AppendUint(append(dst, `,"version":`...), d.Version, 10)
	}
	dst = appendQuoted(append(dst, `,"source":`...), d.Source.String())
	dst = appendQuoted(append(dst, `,"reason":`...), d.Reason.String())
	dst = appendQuotedOrNull(append(dst, `,"schema":`...), d.Schema)
	dst = append(dst, `,"dst_phone":"`...)
	dst = appendFirstDial(dst, d) // a destination's grammar holds nothing that JSON escapes
	dst = append(dst, `","steps":[`...)
	for i := range d.Steps {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendStepJSON(dst, &d.Steps[i])
	}
	dst = appendQuotedOrNull(append(dst, `],"hook":`...), d.Hook)
	dst = append(dst, `,"elapsed_ms":`...)
	dst = appendMilliseconds(dst, d.Elapsed)
	if d.Next != "" {
		dst = appendQuoted(append(dst, `,"next":`...), d.Next)
	}
	if d.Repeated {
		dst = append(dst, `,"repeated":true`...)
	}
	return append(appendWarnings(dst, d.Warnings), '}')
}

// appendWarnings appends a member with the warnings, where there are any.
func appendWarnings(dst []byte, warnings []string) []byte {
	if len(warnings) == 0 {
		return dst
	}
	dst = append(dst, `,"warnings":[`...)
	for i, w := range warnings {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendQuoted(dst, w)
	}
	return append(dst, ']')
}

func appendStepJSON(dst []byte, s *schema.DecidedStep) []byte {
	switch {
	case len(s.Dial) > 0:
		return appendDialJSON(dst, s)
	case s.Voicemail != "":
		dst = appendQuoted(append(dst, `{"voicemail":`...), s.Voicemail)
	case s.Playback != "":
		dst = appendQuoted(append(dst, `{"playback":`...), s.Playback)
	default:
		dst = appendQuoted(append(dst, `{"hangup":`...), s.Hangup)
	}
	return append(dst, '}')
}

func appendDialJSON(dst []byte, s *schema.DecidedStep) []byte {
	dst = append(dst, `{"dial":[`...)
	for i := range s.Dial {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = s.Dial[i].AppendText(dst)
		dst = append(dst, '"')
	}
	dst = appendQuoted(append(dst, `],"strategy":`...), string(s.Strategy))
	dst = append(dst, `,"timeout_s":`...)
	dst = appendSeconds(dst, s.Timeout)
	if s.MOH != "" {
		dst = appendQuoted(append(dst, `,"moh":`...), s.MOH)
	}
	if s.Announce != "" {
		dst = appendQuoted(append(dst, `,"announce":`...), s.Announce)
	}
	return append(dst, '}')
}

// appendMilliseconds appends d in milliseconds, with one decimal place. Numbers are written as integers
// are: a float's way to its text takes as long as all the rest of an answer.
func appendMilliseconds(dst []byte, d time.Duration) []byte {
	tenths := max(d, 0).Round(100*time.Microsecond) / (100 * time.Microsecond)
	dst = strconv.AppendInt(dst, int64(tenths/10), 10)
	return append(dst, '.', byte('0'+tenths%10))
}

// appendSeconds appends d in seconds, with as many decimal places as it has.
func appendSeconds(dst []byte, d time.Duration) []byte {
	if d%time.Second != 0 {
		return strconv.AppendFloat(dst, d.Seconds(), 'f', -1, 64)
	}
	return strconv.AppendInt(dst, int64(d/time.Second), 10)
}

// appendFirstDial appends the destinations of the first dial step, comma-separated; nothing where
// no step dials.
func appendFirstDial(dst []byte, d *schema.Decision) []byte {
	step := d.FirstDial()
	if step == nil {
		return dst
	}
	for i := range step.Dial {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = step.Dial[i].AppendText(dst)
	}
	return dst
}

// appendFaultJSON appends {"error":{"code":…,"message":…,"field":…}}, field only where there is one.
func appendFaultJSON(dst []byte, f *fault) []byte {
	dst = appendQuoted(append(dst, `{"error":{"code":`...), f.code.String())
	dst = appendQuoted(append(dst, `,"message":`...), f.message)
	if f.field != "" {
		dst = appendQuoted(append(dst, `,"field":`...), f.field)
	}
	return append(dst, "}}"...)
}

func appendQuotedOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return appendQuoted(dst, s)
}

// appendQuoted appends s as a JSON string. Bytes that are no UTF-8 become U+FFFD; U+2028 and U+2029,
// which end a line in JavaScript, are escaped.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	clean := 0 // s[clean:i] can be copied as it is
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[clean:i]...)
			dst = appendEscape(dst, c)
			i++
			clean = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r == '\u2028' || r == '\u2029' {
			dst = append(dst, s[clean:i]...)
			dst = append(dst, `\u`...)
			dst = append(dst, hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
			clean = i + n
		}
		i += n
	}
	dst = append(dst, s[clean:]...)
	return append(dst, '"')
}

const hexDigits = "0123456789abcdef"

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
