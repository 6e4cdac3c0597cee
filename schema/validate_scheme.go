package schema

import (
	"errors"
	"slices"
	"strings"
	"time"
)

const (
	wantScheme = "the id of a scheme of this project"
	wantHook   = "the id of a hook of this project"
	wantEnd    = "a scheme that reaches a dial, voicemail, playback or hangup step without asking a hook, at any hour"
)

// checkScheme also compiles the hours and parses what the steps dial.
func (p *projectCheck) checkScheme(s *Scheme, at *path) {
	p.checkLine(at.field("name"), s.Name)
	if s.Hours != nil {
		p.checkHours(s.Hours, at.field("hours"))
	}
	if len(s.Steps) == 0 {
		p.fault(at.field("steps"), "at least one step")
	}
	for i := range s.Steps {
		p.checkStep(&s.Steps[i], at.field("steps").item(i))
	}
}

func (p *projectCheck) checkHours(h *Hours, at *path) {
	zone := p.checkZone(at.field("tz"), h.TZ)
	if _, known := p.schemes[h.ClosedSchema]; !known && h.ClosedSchema != "" {
		p.fault(at.field("closed_schema"), wantScheme)
	}
	h.compiled = h.compile(zone, func(key string, i int, err error) {
		p.fault(at.field(key).item(i), "%s", err)
	})
}

func (p *projectCheck) checkStep(s *Step, at *path) {
	kinds := []string{"dial", "hook", "schema", "voicemail", "playback", "hangup"}
	kinds = slices.DeleteFunc(kinds, func(key string) bool { return !p.has(at.field(key)) })
	if len(kinds) != 1 {
		found := "a step of no kind"
		if len(kinds) > 1 {
			found = "a step with " + list(kinds, "and")
		}
		p.faultFound(at, found, "exactly one of dial, hook, schema, voicemail, playback and hangup")
		return
	}
	kind := kinds[0]
	if kind != "dial" {
		for _, key := range []string{"strategy", "timeout", "moh", "announce"} {
			if p.has(at.field(key)) {
				p.faultFound(at.field(key), "the key in a "+kind+" step", "it in a dial step only")
			}
		}
	}
	at = at.field(kind)
	switch kind {
	case "dial":
		p.checkDial(s, at)
	case "hook":
		if _, known := p.hooks[s.Hook]; !known {
			p.fault(at, wantHook)
		}
	case "schema":
		if _, known := p.schemes[s.Schema]; !known {
			p.fault(at, wantScheme)
		}
	case "voicemail":
		p.checkName(at, s.Voicemail)
	case "playback":
		p.checkName(at, s.Playback)
	case "hangup":
		p.oneOf(at, s.Hangup, HangupCauses...)
	}
}

// checkName is checkLine for a text that must be there.
func (l *loader) checkName(at *path, text string) {
	if text == "" {
		l.fault(at, "a name")
	}
	l.checkLine(at, text)
}

func (p *projectCheck) checkDial(s *Step, at *path) {
	if len(s.Dial) == 0 {
		p.fault(at, "at least one destination")
	}
	s.Destinations = make([]Destination, 0, len(s.Dial))
	for i, text := range s.Dial {
		d, err := ParseDestination(text, p.Destinations.Region)
		if errors.Is(err, ErrNationalNumber) {
			p.fault(at.item(i), "its international form, or the country in destinations.region")
			continue
		}
		if err != nil {
			p.fault(at.item(i), "an international number, sip:user@host, sip/user@host or a login")
			continue
		}
		s.Destinations = append(s.Destinations, d)
	}
	at = at.up
	p.oneOf(at.field("strategy"), string(s.Strategy), string(All), string(InOrder), string(Random), string(RoundRobin))
	within(p.loader, at.field("timeout"), s.Timeout, time.Second, time.Hour)
	p.checkLine(at.field("moh"), s.MOH)
	p.checkLine(at.field("announce"), s.Announce)
}

// edge is a scheme's way to another one.
type edge struct {
	to int
	at *path
}

// edges returns where a scheme's schema steps lead, and where it leads outside its hours. Without a
// closed_schema of its own, that is the project's default.
func (p *projectCheck) edges(i int) []edge {
	var out []edge
	s, at := &p.Schemas[i], p.at.field("schemas").item(i)
	if s.Hours != nil {
		closed := s.Hours.ClosedSchema
		if closed == "" {
			closed = p.otherwise
		}
		if to, known := p.schemes[closed]; known {
			out = append(out, edge{to, at.field("hours").field("closed_schema")})
		}
	}
	for j := range s.Steps {
		if to, known := p.schemes[s.Steps[j].Schema]; known {
			out = append(out, edge{to, at.field("steps").item(j).field("schema")})
		}
	}
	return out
}

// checkCycles reports each way that leads a scheme back to itself, and those that are too long to be
// walked to their end.
func (p *projectCheck) checkCycles() {
	const (
		unseen = iota
		onTheWay
		done
	)
	state := make([]uint8, len(p.Schemas))
	chain := make([]int, len(p.Schemas)) // the longest that begins with it, in schemes
	var way []int
	var visit func(i int)
	visit = func(i int) {
		state[i] = onTheWay
		way = append(way, i)
		for _, e := range p.edges(i) {
			switch state[e.to] {
			case unseen:
				visit(e.to)
			case onTheWay:
				p.faultFound(e.at, "a circle of schemes, "+p.circle(way, e.to), "a scheme that doesn't lead back here")
			}
			if chain[i] = max(chain[i], chain[e.to]); chain[e.to] == MaxSchemeChain {
				p.fault(e.at, "a scheme that leads through fewer others: at most %d in a row", MaxSchemeChain)
			}
		}
		chain[i]++
		way = way[:len(way)-1]
		state[i] = done
	}
	for i := range p.Schemas {
		if state[i] == unseen {
			visit(i)
		}
	}
}

// circle prints the part of the way that goes round, 1 > 2 > 1.
func (p *projectCheck) circle(way []int, to int) string {
	var ids []string
	for _, i := range way[slices.Index(way, to):] {
		ids = append(ids, excerpt(p.Schemas[i].ID))
	}
	if len(ids) > 8 {
		ids = append(ids[:4], append([]string{"…"}, ids[len(ids)-4:]...)...)
	}
	return strings.Join(append(ids, excerpt(p.Schemas[to].ID)), " > ")
}

// checkFallback checks a reference to a scheme that must give the caller something at any hour, with
// every hook down.
func (p *projectCheck) checkFallback(at *path, id string) {
	i, known := p.schemes[id]
	switch {
	case !known:
		p.fault(at, wantScheme)
	case p.gives(i) != yes:
		p.fault(at, wantEnd)
	}
}

// verdict is whether a scheme gives something to dial, or another end to the call, without a hook.
type verdict uint8

const (
	unknown verdict = iota
	no
	yes
)

func (p *projectCheck) gives(i int) verdict {
	if p.dependable[i] != unknown {
		return p.dependable[i]
	}
	p.dependable[i] = yes // for one that comes back here: its circle is reported elsewhere
	s := &p.Schemas[i]
	if len(s.Steps) > 0 && !p.givesOpen(s) || !p.givesClosed(s) {
		p.dependable[i] = no
	}
	return p.dependable[i]
}

func (p *projectCheck) givesOpen(s *Scheme) bool {
	for j := range s.Steps {
		switch step := &s.Steps[j]; step.Kind() {
		case "dial", "voicemail", "playback", "hangup":
			return true
		case "schema":
			if to, known := p.schemes[step.Schema]; !known || p.gives(to) == yes {
				return true // a missing one is reported where it is named
			}
		}
	}
	return false
}

func (p *projectCheck) givesClosed(s *Scheme) bool {
	if s.Hours == nil {
		return true
	}
	closed := s.Hours.ClosedSchema
	if closed == "" {
		closed = p.otherwise
	}
	to, known := p.schemes[closed]
	return !known || p.gives(to) == yes
}
