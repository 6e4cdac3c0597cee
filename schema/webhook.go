package schema

import "time"

// Webhook is a subscription of a project: which call events are sent to which URL, as what, and what
// is done where that fails. Its field names are those of the documented monitoring API, which knows
// some of them, and of Hook. Field meanings are those of configs/hookswitch.yaml.
type Webhook struct {
	// ID names it in the API, in the outbox and in the delivery log. Where a file gives none, it is
	// made of what the webhook is, so that it stays when others come or go.
	ID          int64  `yaml:"id"`
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	// Type is a code of the customer's own, to filter by.
	Type string `yaml:"type"`
	URL  string `yaml:"url"`
	// Event is create, answer or destroy; TypeCall inbound, outbound or all; When more conditions.
	Event    string      `yaml:"event"`
	TypeCall string      `yaml:"type_call"`
	When     []Condition `yaml:"when"`
	// TypeStyle is how a direction is written: long (inbound, outbound) or short (in, out).
	TypeStyle string `yaml:"type_style"`
	Method    string `yaml:"method"`
	// Body is json, form, xml, json-rpc, raw, or query (parameters in the URL, no body).
	Body      string `yaml:"body"`
	RPCMethod string `yaml:"rpc_method"`
	// Template is the body's text, with {{tags}}, in place of the parameters.
	Template string `yaml:"template"`
	// ContentType overrides the one that Body implies; "none" sends no such header.
	ContentType string `yaml:"content_type"`

	// Fields rename what is sent under its usual name. Params, without any, are the event's known
	// values; a Param that is only a name and a value is added to them, a constant.
	Fields     []FieldRename `yaml:"fields"`
	Params     []ParamRule   `yaml:"params"`
	Headers    []NamedSecret `yaml:"headers"`
	DateFormat string        `yaml:"date_format"`
	TZ         string        `yaml:"tz"`
	Auth       Auth          `yaml:"auth"`
	Sign       Secret        `yaml:"sign"`
	Sign2      Secret        `yaml:"sign_next"`
	TLS        TLS           `yaml:"tls"`

	RequestTimeout time.Duration `yaml:"request_timeout"`
	MaxAnswer      int           `yaml:"max_answer_bytes"`
	// Success is which statuses end a delivery: 200, 2xx or 2xx-3xx.
	Success string `yaml:"success"`
	// Retry is none, "30m x 48" (every 30 minutes, 48 times), or "5s..30m x 60" (twice as long each
	// time up to 30 minutes, with jitter).
	Retry string `yaml:"retry"`
	// MaxInFlight and Rate (requests a second; 0 for any) bound what the endpoint gets at once.
	MaxInFlight int     `yaml:"max_in_flight"`
	Rate        float64 `yaml:"rate"`
	// Ordered delivers the events of one call one after another, together with the project's other ordered
	// webhooks at the same host.
	Ordered bool `yaml:"ordered"`
	// DisableAfter is how long an endpoint may fail before it is disabled; 0 for ever.
	DisableAfter time.Duration `yaml:"disable_after"`
	Disabled     bool          `yaml:"disabled"`

	// Save writes values of the answer into variables, kept for SaveFor under the caller's number.
	Save    []SaveRule    `yaml:"save"`
	SaveFor time.Duration `yaml:"save_for"`
}

// FieldRename sends the value usually called Before under the name After.
type FieldRename struct {
	Before string `yaml:"before"`
	After  string `yaml:"after"`
}

// NamedSecret is a header: its value may be a key.
type NamedSecret struct {
	Name  string `yaml:"name"`
	Value Secret `yaml:"value"`
}

// Condition is true of an event where Param compares with Value, or where All, or one of Any, are.
// Exactly one of Param, All and Any is given.
type Condition struct {
	Param string `yaml:"param"`
	// Op is eq, ne, contains, prefix, suffix, matches (RE2), in (Value's comma-separated list), lt,
	// le, gt, ge (numbers), empty or filled (neither has a Value).
	Op    string      `yaml:"op"`
	Value string      `yaml:"value"`
	All   []Condition `yaml:"all"`
	Any   []Condition `yaml:"any"`
}

// SaveRule puts what stands at the answer's gjson path From into the variable To.
type SaveRule struct {
	From string `yaml:"from"`
	To   string `yaml:"to"`
}

// SetDefaults fills a webhook with what the commented example shows as defaults.
func (w *Webhook) SetDefaults() {
	*w = Webhook{
		Type: "lk", TypeCall: "all", TypeStyle: "long", Method: "POST", Body: "json", RPCMethod: "event",
		DateFormat: "2006-01-02 15:04:05", RequestTimeout: 10 * time.Second, MaxAnswer: 64 << 10,
		Success: "2xx", Retry: "5s..30m x 60", MaxInFlight: 8, DisableAfter: 5 * 24 * time.Hour, SaveFor: 24 * time.Hour,
	}
}
