package schema

import "time"

// Sent is what became of one request to a webhook. Its bytes and strings are its own.
type Sent struct {
	Status int // of the answer; 0 for none
	Took   time.Duration
	// Reason is ReasonOK where an answer came, whatever its status; else why none did, as of a hook.
	Reason Reason
	Detail string // in words, without secrets
	// Request and Answer are excerpts for the delivery log, without secrets.
	Request, Answer string
	Body            []byte        // the answer's, as far as it was read
	RetryAfter      time.Duration // what the answer asked for (RFC 9110, 10.2.3); 0 for nothing
}

// DeliveryState says how far a delivery is.
type DeliveryState string

// The states. A failed delivery is given up; a replay makes it wait again.
const (
	DeliveryWaiting   DeliveryState = "waiting"
	DeliveryDelivered DeliveryState = "delivered"
	DeliveryFailed    DeliveryState = "failed"
)

// Delivery is one event to one webhook, and every attempt at it.
type Delivery struct {
	ID       string            `json:"id"`
	Project  string            `json:"project"`
	Webhook  int64             `json:"webhook"`
	Event    string            `json:"event"` // create, answer or destroy
	EventID  string            `json:"event_id"`
	CallID   string            `json:"callid"`
	State    DeliveryState     `json:"state"`
	Created  time.Time         `json:"created"`
	Next     *time.Time        `json:"next_attempt,omitempty"` // of a waiting one
	Attempts []DeliveryAttempt `json:"attempts"`
}

// DeliveryAttempt is one request of a delivery, and what came back.
type DeliveryAttempt struct {
	At      time.Time `json:"at"`
	Status  int       `json:"status"`
	TookMS  float64   `json:"took_ms"`
	Error   string    `json:"error,omitempty"`
	Request string    `json:"request"`
	Answer  string    `json:"answer"`
}

// DeliveryFilter selects deliveries; what is empty selects all.
type DeliveryFilter struct {
	Project string
	Webhook int64
	State   DeliveryState
	Event   string
	CallID  string
	Since   time.Time // the event's, or later
	Tried   time.Time // the last attempt's, or later
}
