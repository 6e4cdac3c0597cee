package router

import "strings"

// deniesAsNumber reports whether a SIP user or a login, dialled over a trunk, would call a denied number,
// however it is spelled: with visual separators (RFC 3966, section 5.1.1), with one of the usual
// international prefixes before it, with digits too many, with service codes before or behind it.
func (p *policy) deniesAsNumber(user string) bool {
	if strings.ContainsAny(user, "*#") {
		return p.deniesBehindCode(user)
	}
	digits, ok := dialled(user)
	return ok && (p.deniesInternational(digits) || p.deny.matchNumber(p.national.International(digits)) ||
		digits != user && p.deny.matchNumber(p.number(user))) // separators tell a national number from an international one
}

// deniesBehindCode is deniesAsNumber of a user with * or #. Which of its digits are a service code (#31#,
// *67, **21*) and which the number is the dial plan's to say, so a number may begin with each run of digits,
// and within its first few; it ends with the run, or goes on without what separates it from the next.
// A plus is a separator here, as it begins a number.
func (p *policy) deniesBehindCode(user string) bool {
	behind := "" // the digits after the run
	for runs := 0; user != ""; {
		i := strings.LastIndexAny(user, "*#+")
		run, ok := dialled(user[i+1:])
		switch {
		case !ok:
			behind = "" // a name has no part in a number
		case run != "":
			if runs++; runs > maxRuns || p.deniesRun(run, behind, i >= 0) {
				return true
			}
			behind = run + behind
		}
		user = user[:max(i, 0)]
	}
	return false
}

// maxRuns is how many runs of digits a user is compared by. One with more is no number that anybody dials
// (#31#*21*NUMBER*11*20# has five), and it costs too much to be sure that none is in it.
const maxRuns = 6

// maxCode is the length of the longest service code that can stand glued to a number (*67, *1810).
const maxCode = 4

// deniesRun compares what begins within a run of digits; coded tells that a separator is before it.
func (p *policy) deniesRun(run, behind string, coded bool) bool {
	whole, n := run+behind, &p.national
	if p.deny.matchNumber(n.International(run)) {
		return true
	}
	if behind != "" && len(whole) < len(n.Trunk)+n.Shortest && p.deny.matchNumber(n.International(whole)) { // too short for deniesNational
		return true
	}
	for cut := 0; cut < len(run) && (cut == 0 || coded && cut <= maxCode); cut++ {
		if p.deniesInternational(whole[cut:]) || p.deniesNational(whole[cut:]) {
			return true
		}
	}
	return false
}

// minNumber is the length of the shortest number that a trunk would take for an international one.
const minNumber = 7

func (p *policy) deniesInternational(digits string) bool {
	if len(digits) < minNumber {
		return false // an extension
	}
	for _, prefix := range [...]string{"", "00", "0011", "011", "810"} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok && p.deny.matchNumber(rest) {
			return true
		}
	}
	return false
}

// deniesNational compares digits that begin as a national number, without reading them as one: that takes
// microseconds, and there are many places where a number could begin.
func (p *policy) deniesNational(digits string) bool {
	n := &p.national
	if n.Region == "" {
		return false
	}
	digits = strings.TrimPrefix(digits, n.Trunk)
	if len(digits) < n.Shortest {
		return false
	}
	for _, denied := range p.deny.prefixes {
		if rest, ok := strings.CutPrefix(denied, n.Country); ok && strings.HasPrefix(digits, rest) || strings.HasPrefix(n.Country, denied) {
			return true
		}
	}
	return false
}

// dialled returns the digits of text without what may stand between them; not ok where it is a name.
func dialled(text string) (string, bool) {
	text = strings.TrimPrefix(text, "+")
	var buf [64]byte
	digits := buf[:0]
	for i := 0; i < len(text) && len(digits) < len(buf); i++ {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			digits = append(digits, c)
		case c != '+' && c != '-' && c != '.' && c != '_':
			return "", false
		}
	}
	if len(digits) == len(text) { // as nearly always, and nothing is allocated
		return text, true
	}
	return string(digits), true
}
