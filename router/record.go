package router

import (
	"encoding/binary"
	"time"

	"hookswitch/schema"
)

// A decision is remembered as bytes, so that a hundred thousand of them are nothing for the garbage
// collector to look at. Strings are a length (uvarint) and their bytes.

var strategies = [...]schema.Strategy{schema.All, schema.InOrder, schema.Random, schema.RoundRobin}

// appendDecision encodes all of d that a PBX is told, but for the call id, which it has itself.
func appendDecision(b []byte, d *schema.Decision) []byte {
	b = append(b, d.ID[:]...)
	b = append(b, byte(d.Source), byte(d.Reason))
	for _, s := range [...]string{d.Project, d.Schema, d.Hook, d.Next} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, d.Version)
	b = binary.AppendUvarint(b, uint64(len(d.Steps)))
	for i := range d.Steps {
		b = appendStep(b, &d.Steps[i])
	}
	return b
}

// appendStep encodes a step: a byte of what it has, then that. Few have more than a list to dial.
func appendStep(b []byte, s *schema.DecidedStep) []byte {
	has := byte(0)
	for i := range strategies {
		if s.Strategy == strategies[i] {
			has = byte(i)
		}
	}
	texts := s.MOH != "" || s.Announce != "" || s.Voicemail != "" || s.Playback != "" || s.Hangup != ""
	if texts {
		has |= hasTexts
	}
	b = append(b, has)
	b = binary.AppendUvarint(b, uint64(s.Timeout/time.Millisecond))
	if texts {
		for _, text := range [...]string{s.MOH, s.Announce, s.Voicemail, s.Playback, s.Hangup} {
			b = appendString(b, text)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.Dial)))
	for i := range s.Dial {
		b = appendDestination(b, &s.Dial[i])
	}
	return b
}

const (
	hasStrategy = 0x0f
	hasTexts    = 0x10
	// Of a destination.
	hasKind  = 0x0f
	hasSlash = 0x10
	hasHost  = 0x20
)

func appendDestination(b []byte, d *schema.Destination) []byte {
	has := byte(d.Kind)
	if d.Slash {
		has |= hasSlash
	}
	host := d.Host != "" || d.Port != 0
	if host {
		has |= hasHost
	}
	b = appendString(append(b, has), d.User)
	if host {
		b = appendString(append(b, byte(d.Port>>8), byte(d.Port)), d.Host)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// readDecision is appendDecision's inverse, for bytes that it wrote. The strings are copies.
func readDecision(b []byte, d *schema.Decision) {
	r := record(b)
	copy(d.ID[:], r.take(len(d.ID)))
	d.Source, d.Reason = schema.Source(r.byte()), schema.Reason(r.byte())
	for _, s := range [...]*string{&d.Project, &d.Schema, &d.Hook, &d.Next} {
		*s = r.string()
	}
	d.Version = uint64(r.int())
	d.Steps = d.Steps[:0]
	for range r.int() {
		d.Steps = append(d.Steps, r.step())
	}
}

// record is encoded bytes, read from the front.
type record []byte

func (r *record) take(n int) []byte {
	b := (*r)[:n]
	*r = (*r)[n:]
	return b
}

func (r *record) byte() byte { return r.take(1)[0] }

func (r *record) int() int {
	v, n := binary.Uvarint(*r)
	r.take(n)
	return int(v)
}

func (r *record) string() string { return string(r.take(r.int())) }

func (r *record) step() schema.DecidedStep {
	has := r.byte()
	s := schema.DecidedStep{Strategy: strategies[has&hasStrategy], Timeout: time.Duration(r.int()) * time.Millisecond}
	if has&hasTexts != 0 {
		for _, text := range [...]*string{&s.MOH, &s.Announce, &s.Voicemail, &s.Playback, &s.Hangup} {
			*text = r.string()
		}
	}
	for range r.int() {
		s.Dial = append(s.Dial, r.destination())
	}
	return s
}

func (r *record) destination() schema.Destination {
	has := r.byte()
	d := schema.Destination{Kind: schema.DestinationKind(has & hasKind), Slash: has&hasSlash != 0, User: r.string()}
	if has&hasHost != 0 {
		d.Port = binary.BigEndian.Uint16(r.take(2))
		d.Host = r.string()
	}
	return d
}
