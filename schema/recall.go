package schema

import (
	"errors"
	"strings"
)

// Recall is one look at what is remembered of a caller: what is asked for, and what was found in time.
type Recall struct {
	Project, Caller, CallID string // Caller as CallerKey writes it
	// Continued: the call has been asked about before, and so was counted.
	Continued bool
	// WantCalls asks which call of this caller it is, WantVariables for what others sent about them.
	WantCalls, WantVariables bool

	// Callnum is 1 for the first call; 0 where it was not found out. Variables is a JSON object,
	// empty where nothing is known.
	Callnum                      uint64
	Variables                    []byte
	CallsResult, VariablesResult RecallResult
}

// RecallResult says what came of a look. The set is closed, so that it can label a metric.
type RecallResult uint8

// The results.
const (
	RecallOK      RecallResult = iota // read, be it that nothing is known
	RecallSkipped                     // not tried: too many wait for the store already, or it has not answered lately
	RecallLate                        // not there by the deadline
	RecallError                       // the store failed

	// RecallResultCount is the number of results, not a result.
	RecallResultCount
)

// String returns the result as it stands in a metric.
func (r RecallResult) String() string {
	return [RecallResultCount]string{"ok", "skipped", "late", "error"}[r]
}

// What keeps variables fails with these where it is not merely out of reach.
var (
	ErrNoSpace = errors.New("no space left to keep it in")
	ErrTooMuch = errors.New("more than is kept of one caller")
)

// undecorated drops what people write between a number's digits, for strings.Map.
func undecorated(r rune) rune {
	switch r {
	case ' ', '-', '(', ')', '.', '\u00a0':
		return -1
	}
	return r
}

// CallerKey returns the one spelling under which a caller is remembered, and "" for a caller that is
// none, withheld for example. A number is its international digits, be it written with a plus, 00,
// blanks, brackets, dashes or dots, or as region's (ISO 3166) national number; a name that the PBX
// knows is in lower case.
func CallerKey(text, region string) string {
	text = trimBlanks(text)
	if len(text) > MaxDestinationLength {
		return ""
	}
	plain := strings.Map(undecorated, text)
	if plain != "" && every(plain, func(c byte) bool { return isDigit(c) || c == '+' }) {
		text = plain
	}
	if digits := Digits(text); digits != "" {
		return digits
	}
	if rest, ok := strings.CutPrefix(text, "00"); ok && Digits(rest) != "" {
		return Digits(rest)
	}
	if region != "" {
		if d, err := ParseDestination(text, region); err == nil && d.Kind == KindNumber {
			return d.User
		}
	}
	name := strings.ToLower(text)
	switch name { // what PBXes put where the number is withheld (RFC 3261, 8.1.1.3; Asterisk; carriers)
	case "anonymous", "unknown", "unavailable", "restricted", "private", "withheld", "asterisk":
		return ""
	}
	if len(name) > 64 || !every(name, isUserByte) {
		return ""
	}
	return name
}

// IsReservedName reports whether a name means something in every call, so that no variable can have it.
func IsReservedName(name string) bool { return taken(name) }
