package schema

import (
	"crypto/sha256"
	"time"
)

// Hook is a customer's "forwarding number" webhook: how it is asked, how its answer is read, and
// how much patience it gets. Field meanings are those of configs/hookswitch.yaml.
type Hook struct {
	ID          string `yaml:"id"`
	Name        string `yaml:"name"`
	URL         string `yaml:"url"`
	FallbackURL string `yaml:"fallback_url"`
	Method      string `yaml:"method"`
	Send        string `yaml:"send"`
	Receive     string `yaml:"receive"`
	Field       string `yaml:"field"`
	RPCMethod   string `yaml:"rpc_method"`
	// Body is the template of a raw body, or of an xml or json one that params can't express.
	Body string `yaml:"body"`
	// ContentType overrides the one that Send implies; "none" sends no such header.
	ContentType string `yaml:"content_type"`

	RingTimeout    time.Duration `yaml:"ring_timeout"`
	RequestTimeout time.Duration `yaml:"request_timeout"`

	// Headers are added to the request; an empty value removes a header that would be sent.
	Headers map[string]Secret `yaml:"headers"`
	Auth    Auth              `yaml:"auth"`
	// Sign is a Standard Webhooks secret ("whsec_…" base64, or any text); Sign2 is the second one
	// while a key is rotated.
	Sign  Secret `yaml:"sign"`
	Sign2 Secret `yaml:"sign_next"`
	TLS   TLS    `yaml:"tls"`

	Params     []ParamRule `yaml:"params"`
	DateFormat string      `yaml:"date_format"`
	TZ         string      `yaml:"tz"`

	// Idempotent lets a POST be retried, and a reset connection be asked again.
	Idempotent      bool `yaml:"idempotent"`
	FollowRedirects int  `yaml:"follow_redirects"`
	// MaxAnswer bounds the answer's body in bytes, before and after decompression.
	MaxAnswer int `yaml:"max_answer_bytes"`

	Breaker     Breaker       `yaml:"breaker"`
	MaxInFlight int           `yaml:"max_in_flight"`
	LastGood    time.Duration `yaml:"last_good"`
	// OnFailure is the id of this hook's own fallback scheme.
	OnFailure string `yaml:"on_failure"`
}

// SetDefaults fills a hook with what the commented example shows as defaults.
func (h *Hook) SetDefaults() {
	*h = Hook{
		Method: "GET", Send: "http", Receive: "json", Field: "dst_phone", RPCMethod: "route",
		RingTimeout: 90 * time.Second, RequestTimeout: 800 * time.Millisecond,
		DateFormat: "2006-01-02 15:04:05", MaxAnswer: 64 << 10, MaxInFlight: 64,
		Breaker: Breaker{
			State: "auto", Failures: 5, FailureRate: 0.5, MinCalls: 20, Window: 10 * time.Second, SlowCall: 0.8,
			OpenFor: 5 * time.Second, OpenForMax: 60 * time.Second, Probes: 1,
		},
	}
}

// Breaker says when a hook is left alone for a while, and how it is tried again.
type Breaker struct {
	// State is auto, or open or closed where an operator forces it.
	State string `yaml:"state"`
	// Failures in a row open it, and so does FailureRate (0 to 1) over at least MinCalls within
	// Window. An answer that took over SlowCall (0 to 1) of the request timeout counts as a failure.
	Failures    int           `yaml:"failures"`
	FailureRate float64       `yaml:"failure_rate"`
	MinCalls    int           `yaml:"min_calls"`
	Window      time.Duration `yaml:"window"`
	SlowCall    float64       `yaml:"slow_call"`
	// It stays open for OpenFor, twice as long after each failed probe, to at most OpenForMax.
	OpenFor    time.Duration `yaml:"open_for"`
	OpenForMax time.Duration `yaml:"open_for_max"`
	// Probes must succeed to close it: real calls, or requests to ProbeURL where one is given.
	Probes   int    `yaml:"probes"`
	ProbeURL string `yaml:"probe_url"`
}

// Auth is how a request proves who sends it: Basic or Bearer, or neither.
type Auth struct {
	Basic  *BasicAuth `yaml:"basic"`
	Bearer Secret     `yaml:"bearer"`
}

// BasicAuth is RFC 7617's pair.
type BasicAuth struct {
	User     string `yaml:"user"`
	Password Secret `yaml:"password"`
}

// TLS is what a hook's https needs beyond the system's roots: paths of PEM files.
type TLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// ServerName is checked against the certificate in place of the URL's host.
	ServerName string `yaml:"server_name"`
	// Contents is a digest of what the files held when the configuration was read, before anybody else
	// read them: where it is the same, so are they. All zero without files.
	Contents [sha256.Size]byte `yaml:"-"`
}

// ParamRule is one parameter of a request, under a name of the customer's choosing. Exactly one of
// Param, Value, List and Object says where its value comes from.
type ParamRule struct {
	Name string `yaml:"name"`
	// Param names a catalogue or custom parameter; Value is text with {{tags}}.
	Param string  `yaml:"param"`
	Value *string `yaml:"value"`
	// List names several parameters; Object nests rules to any depth.
	List   []string    `yaml:"list"`
	Object []ParamRule `yaml:"object"`
	// Hash is md5, crc32, sha1 or sha256 (lower-case hex) of the value; empty sends it as it is.
	Hash string `yaml:"hash"`
	// DateFormat overrides the hook's for a date.
	DateFormat string `yaml:"date_format"`
}

// Secret is text that must not be seen: it prints as "***" everywhere, and only Reveal gives it.
type Secret struct{ text string }

// NewSecret wraps text that must not be seen.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text, for the wire and nothing else.
func (s Secret) Reveal() string { return s.text }

// String keeps a secret out of logs and messages: "***", or "" when there is none.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return "***"
}

// GoString, MarshalText: the same for %#v, JSON and YAML.
func (s Secret) GoString() string             { return s.String() }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
