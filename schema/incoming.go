package schema

import "time"

// Incoming is a link for others to call: what comes through it is kept as variables, which hooks
// and webhooks of the project use as {{tags}} and parameters when that caller calls. Field meanings
// are those of configs/hookswitch.yaml.
type Incoming struct {
	ID   string `yaml:"id"`
	Name string `yaml:"name"`
	// Token is the link's secret; Token2 the second one while it is rotated. A link that the API
	// manages has their SHA-256 (hex) instead, so that nobody can read a token where it is kept.
	Token      Secret `yaml:"token"`
	Token2     Secret `yaml:"token_next"`
	TokenHash  string `yaml:"token_sha256"`
	TokenHash2 string `yaml:"token_next_sha256"`
	// Fields are the names taken from the query. None takes them from a JSON body only, whatever
	// their names.
	Fields []string `yaml:"fields"`
	// Key names the field that says whose values these are: a caller's number. They are kept for Keep.
	Key  string        `yaml:"key"`
	Keep time.Duration `yaml:"keep"`
	// MaxBody bounds a request's body in bytes, Rate what is taken a second; 0 for any.
	MaxBody int     `yaml:"max_body_bytes"`
	Rate    float64 `yaml:"rate"`
	// Route runs a decision with these parameters, text with {{tags}}; nil for none.
	Route *IncomingRoute `yaml:"route"`
	// Response is what the asker gets, text with {{tags}}, those of the decision too (dst_phone,
	// source, reason, schema, decision_id); empty for {"success":true} or the decision's JSON.
	Response     string `yaml:"response"`
	ResponseType string `yaml:"response_type"`
}

// IncomingRoute says what a link's decision is asked with.
type IncomingRoute struct {
	Caller string `yaml:"caller"`
	Callee string `yaml:"callee"`
	Hook   string `yaml:"hook"`
	Schema string `yaml:"schema"`
}

// SetDefaults fills a link with what the commented example shows as defaults.
func (in *Incoming) SetDefaults() {
	*in = Incoming{Keep: 24 * time.Hour, MaxBody: 64 << 10, Rate: 50, ResponseType: "application/json"}
}
