package schema

import "time"

// Event is something that happened to a call: it was created, answered or destroyed. Its strings are
// its own.
type Event struct {
	// ID names it for good. A repeated event has the first one's.
	ID      string
	Project string
	// Kind is create, answer or destroy; Direction inbound or outbound.
	Kind, Direction string
	CallID          string
	At              time.Time
	// Values are what the PBX said of the call: catalogue and custom parameters, by name.
	Values []Custom
}

// EventKind finds the event that a name means: create, answer or destroy, or before_call and
// after_call, which are the first and the last of them. False for any other.
func EventKind(name string) (string, bool) {
	switch name {
	case "create", "before_call":
		return "create", true
	case "answer":
		return "answer", true
	case "destroy", "after_call":
		return "destroy", true
	}
	return "", false
}

// Direction finds the direction that a name means: inbound or in, outbound or out. False for any other.
func Direction(name string) (string, bool) {
	switch name {
	case "inbound", "in":
		return "inbound", true
	case "outbound", "out":
		return "outbound", true
	}
	return "", false
}

// CallDirection is what was said of a call's direction: by a parameter direction, or else type. It is
// inbound where nothing was, and false, with inbound, where that means no direction.
func CallDirection(call *Call) (string, bool) {
	way, _ := call.CustomValue("direction")
	if way == "" && call.Said(ParamType) {
		way = call.Get(ParamType)
	}
	if direction, ok := Direction(way); ok {
		return direction, true
	}
	return "inbound", way == ""
}

// Fill gives call the event's values, for tags and parameters to be filled in from.
func (e *Event) Fill(call *Call) {
	for _, v := range e.Values {
		call.SetNamed([]byte(v.Name), []byte(v.Value))
	}
	call.Project, call.At = e.Project, e.At
}

// Acceptance says what became of an event that a PBX sent.
type Acceptance uint8

// The acceptances. Only the first two mean that the event is durable.
const (
	EventAccepted  Acceptance = iota
	EventRepeated             // it was accepted before
	EventNoProject            // no such project
	EventNoSpace              // the store is full
	EventNotKept              // the store cannot be reached, or is none
	EventKeyReused            // the idempotency key came with another event
)
