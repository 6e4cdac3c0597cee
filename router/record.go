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

func appendStep(b []byte, s *schema.DecidedStep) []byte {
	strategy := byte(0)
	for i := range strategies {
		if s.Strategy == strategies[i] {
			strategy = byte(i)
		}
	}
	b = append(b, strategy)
	b = binary.AppendUvarint(b, uint64(s.Timeout/time.Millisecond))
	for _, text := range [...]string{s.MOH, s.Announce, s.Voicemail, s.Playback, s.Hangup} {
		b = appendString(b, text)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Dial)))
	for i := range s.Dial {
		dst := &s.Dial[i]
		slash := byte(0)
		if dst.Slash {
			slash = 1
		}
		b = append(b, byte(dst.Kind), slash, byte(dst.Port>>8), byte(dst.Port))
		b = appendString(appendString(b, dst.User), dst.Host)
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
	s := schema.DecidedStep{Strategy: strategies[r.byte()], Timeout: time.Duration(r.int()) * time.Millisecond}
	for _, text := range [...]*string{&s.MOH, &s.Announce, &s.Voicemail, &s.Playback, &s.Hangup} {
		*text = r.string()
	}
	for range r.int() {
		head := r.take(4)
		s.Dial = append(s.Dial, schema.Destination{
			Kind: schema.DestinationKind(head[0]), Slash: head[1] == 1, Port: binary.BigEndian.Uint16(head[2:]),
			User: r.string(), Host: r.string(),
		})
	}
	return s
}
