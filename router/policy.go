package router

import (
	"fmt"
	"net/netip"
	"strings"

	"hookswitch/schema"
)

// policy is what a project's hooks may have dialled.
type policy struct {
	allow, deny rules
	// limited: there is an allow list, so that what it does not name is refused.
	limited bool
	max     int
	region  string // whose national numbers are understood; "" for none
	// national is region's, for what is denied.
	national schema.National
}

// rules are destinations' patterns, by kind.
type rules struct {
	prefixes []string  // of numbers, without "+"
	sip      []sipRule // sip:USER@DOMAIN
	logins   []string  // login:PATTERN
	fold     bool      // users and logins are compared without case, the patterns being lower-case
}

type sipRule struct{ user, domain string }

// newPolicy reads the owner's lists. A SIP user is a matter of case (RFC 3261, section 19.1.4), but
// many PBXes do not care: so allow is exact, and deny holds for every spelling.
func newPolicy(conf *schema.Destinations) policy {
	p := policy{
		allow: newRules(conf.Allow, false), deny: newRules(conf.Deny, true),
		limited: len(conf.Allow) > 0, max: conf.Max, region: conf.Region,
	}
	if len(p.deny.prefixes) > 0 {
		p.national = schema.NewNational(conf.Region)
	}
	return p
}

func newRules(texts []string, fold bool) rules {
	r := rules{fold: fold}
	for _, text := range texts {
		if fold {
			text = strings.ToLower(text)
		}
		if rest, ok := strings.CutPrefix(text, "sip:"); ok {
			user, domain, _ := strings.Cut(rest, "@")
			r.sip = append(r.sip, sipRule{user, oneSpelling(strings.ToLower(domain))})
		} else if rest, ok := strings.CutPrefix(text, "login:"); ok {
			r.logins = append(r.logins, rest)
		} else {
			r.prefixes = append(r.prefixes, strings.TrimPrefix(text, "+"))
		}
	}
	return r
}

// allows reports whether d may be dialled. Without an allow list numbers pass; SIP addresses and
// logins pass only where listed, so that a word like "Error" is never dialled. Deny wins, and a
// number that is denied is so as a SIP address's user, too: behind a trunk it is the same call.
func (p *policy) allows(d *schema.Destination) bool {
	if p.deny.match(d) || d.Kind != schema.KindNumber && len(p.deny.prefixes) > 0 && p.deniesAsNumber(d.User) {
		return false
	}
	if !p.limited {
		return d.Kind == schema.KindNumber
	}
	return p.allow.match(d)
}

func (r *rules) match(d *schema.Destination) bool {
	switch d.Kind {
	case schema.KindNumber:
		return r.matchNumber(d.User)
	case schema.KindSIP:
		host := oneSpelling(d.Host)
		for i := range r.sip {
			if glob(r.sip[i].user, d.User, r.fold) && glob(r.sip[i].domain, host, true) {
				return true
			}
		}
	case schema.KindLogin:
		for _, pattern := range r.logins {
			if glob(pattern, d.User, r.fold) {
				return true
			}
		}
	}
	return false
}

func (r *rules) matchNumber(digits string) bool {
	for _, prefix := range r.prefixes {
		if strings.HasPrefix(digits, prefix) {
			return true
		}
	}
	return false
}

// oneSpelling returns a host as it is, but for an IPv6 address in brackets, of which there are many
// spellings.
func oneSpelling(host string) string {
	if !strings.HasPrefix(host, "[") {
		return host
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return host
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	return "[" + a.String() + "]"
}

// number returns the digits of the international number that text stands for, be it written with a
// plus, with 00, or as the region's national number; "" where it is none.
func (p *policy) number(text string) string {
	if digits := schema.Digits(text); digits != "" {
		return digits
	}
	if rest, ok := strings.CutPrefix(text, "00"); ok && schema.Digits(rest) != "" {
		return schema.Digits(rest)
	}
	if p.region != "" {
		if d, err := schema.ParseDestination(text, p.region); err == nil && d.Kind == schema.KindNumber {
			return d.User
		}
	}
	return ""
}

// check keeps, in place and in order, the destinations that may be dialled, and that a PBX of the dialect can be
// told of; what it drops is named
// in warnings. It refuses an answer of which nothing is left, or too much.
func (p *policy) check(list []schema.Destination, callee, dialect string, warnings *[]string) ([]schema.Destination, schema.Reason, string) {
	if len(list) > sparing*p.max {
		return nil, schema.ReasonForbiddenDestination, fmt.Sprintf("the answer has more than %d destinations, %d times destinations.max", sparing*p.max, sparing)
	}
	kept, loops, forbidden := list[:0], 0, 0
	called := p.number(callee)
	for i := range list {
		d := list[i]
		switch {
		case d.Kind == schema.KindNumber && d.User == called, d.Kind != schema.KindSIP && d.User == callee:
			loops++
			warn(warnings, d, "it is the number that was called")
		case !p.allows(&d):
			forbidden++
			warn(warnings, d, "not allowed by the project's destinations")
		case dialect == "asterisk" && d.Kind == schema.KindSIP && d.Host[0] == '[':
			forbidden++
			warn(warnings, d, "Asterisk's HASH() can't hold the brackets of an IPv6 address")
		case contains(kept, &d):
			warn(warnings, d, "it stands in the answer twice")
		case len(kept) == p.max:
			return nil, schema.ReasonForbiddenDestination, fmt.Sprintf("the answer has more than %d destinations (destinations.max)", p.max)
		default:
			kept = append(kept, d)
		}
	}
	switch {
	case len(kept) > 0:
		return kept, schema.ReasonOK, ""
	case forbidden == 0 && loops > 0:
		return nil, schema.ReasonLoop, "the answer sends the call back to the number that was called"
	default:
		return nil, schema.ReasonForbiddenDestination, "the project's destinations.allow and deny let none of the answer's destinations pass"
	}
}

// sparing is how many times destinations.max an answer may have that is looked at one by one, in case most of
// them are dropped: a hostile one could have eight hundred, each made to take long.
const sparing = 10

// maxWarnings bounds what one answer can make a decision say.
const maxWarnings = 20

func warn(warnings *[]string, d schema.Destination, why string) {
	if len(*warnings) < maxWarnings {
		*warnings = append(*warnings, fmt.Sprintf("%s dropped: %s", d, why))
	}
}

func contains(list []schema.Destination, d *schema.Destination) bool {
	for i := range list {
		if list[i].Same(*d) {
			return true
		}
	}
	return false
}

// glob reports whether text matches pattern, in which * stands for any run of characters. The
// pattern of a domain is lower-case, and fold makes the text so.
func glob(pattern, text string, fold bool) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && pattern[p] == lower(text[t], fold):
			p++
			t++
		case star >= 0: // let the last star take one more
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func lower(c byte, fold bool) byte {
	if fold && c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}
