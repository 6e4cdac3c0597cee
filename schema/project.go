package schema

import "time"

// Config is a whole configuration file: the installation's settings and its projects.
type Config struct {
	Listen string `yaml:"listen"`
	Admin  Admin  `yaml:"admin"`
	Store  string `yaml:"store"`
	// DefaultSchema, "PROJECT/SCHEMA", is what a caller gets when a project has none of its own or
	// the number called is nobody's.
	DefaultSchema string  `yaml:"default_schema"`
	Intake        Intake  `yaml:"intake"`
	Log           Log     `yaml:"log"`
	Tracing       Tracing `yaml:"tracing"`
	DNS           DNS     `yaml:"dns"`
	Dial          Dialing `yaml:"dial"`

	Continuation Continuation `yaml:"continuation"`
	Repeats      Repeats      `yaml:"repeats"`
	Callers      Callers      `yaml:"callers"`
	Events       Events       `yaml:"events"`

	// Projects are shared between configurations where they are the same: read them, don't change them.
	Projects []*Project `yaml:"projects"`

	// SaysProjects tells a file that has projects, be it an empty list, from one that says nothing of them.
	SaysProjects bool `yaml:"-"`

	// Notes are of what is sound in the file and worth knowing all the same, as faults are written.
	Notes []string `yaml:"-"`
}

// Admin is the operators' door; absent unless a token is configured.
type Admin struct {
	Listen string  `yaml:"listen"`
	Tokens []Token `yaml:"tokens"`
}

// Token opens a door. Scopes are read and write.
type Token struct {
	Name   string   `yaml:"name"`
	Token  Secret   `yaml:"token"`
	Scopes []string `yaml:"scopes"`
	// Project binds the token to one project; empty for all, and the installation itself.
	Project string `yaml:"project"`
}

// Intake is the PBX's door: its limits, and who may ask.
type Intake struct {
	MaxBody      int           `yaml:"max_body_bytes"`
	MaxHeader    int           `yaml:"max_header_bytes"`
	ReadTimeout  time.Duration `yaml:"read_timeout"`
	IdleTimeout  time.Duration `yaml:"idle_timeout"`
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	MaxConns     int           `yaml:"max_connections"`
	// Budget is the longest a decision may take in all, where the PBX states no budget_ms.
	Budget time.Duration `yaml:"budget"`
	// Tokens, where given, must be sent as "Authorization: Bearer". AllowFrom, where given, lists
	// the address prefixes that may ask.
	Tokens    []Secret `yaml:"tokens"`
	AllowFrom []string `yaml:"allow_from"`

	// PublicURL is what stands before /v1/route where a cloud asks from outside; empty where none
	// does. TwiMLAuthToken and JambonzSecret, where set, are what such a cloud signs with: the
	// signature then stands in for a token.
	PublicURL      string `yaml:"public_url"`
	TwiMLAuthToken Secret `yaml:"twiml_auth_token"`
	JambonzSecret  Secret `yaml:"jambonz_secret"`
}

// Log is what is written about decisions, to standard error.
type Log struct {
	Level       string `yaml:"level"`  // debug info warn error
	Format      string `yaml:"format"` // json console
	MaskNumbers bool   `yaml:"mask_numbers"`
	// Each second, SampleFirst lines of a kind are written and then one in SampleThereafter.
	SampleFirst      int `yaml:"sample_first"`
	SampleThereafter int `yaml:"sample_thereafter"`
}

// Tracing sends OpenTelemetry spans to an OTLP endpoint over HTTP, where one is given.
type Tracing struct {
	Endpoint string            `yaml:"endpoint"`
	Headers  map[string]Secret `yaml:"headers"`
	Sample   float64           `yaml:"sample"`
}

// Continuation is how a call goes on after its destinations rang in vain, where the scheme then
// asks a hook: the PBX gets a signed cursor and passes it back.
type Continuation struct {
	// Key signs cursors; instances that share it go on with each other's calls. Empty for a key of
	// the process's own.
	Key     Secret        `yaml:"key"`
	Max     int           `yaml:"max"`     // times that one call is continued
	Expires time.Duration `yaml:"expires"` // how long a cursor is good
}

// Repeats is for how long, and in how much memory, decisions are remembered for a PBX that sends a
// lookup again.
type Repeats struct {
	Window time.Duration `yaml:"window"` // 0 remembers nothing
	Memory int           `yaml:"memory_bytes"`
}

// Callers is what is remembered of those who call: how often they did (the parameters callnum,
// uniquefirst and repeated_flag, looked up for the hooks whose params name one of them), and their
// variables. A decision waits for the store no longer than Deadline, and goes on without.
type Callers struct {
	Keep     time.Duration `yaml:"keep"` // after the last call; 0 remembers nobody
	Deadline time.Duration `yaml:"deadline"`
}

// Events is how call events are delivered, and how long the log of it is kept.
type Events struct {
	Workers int `yaml:"workers"` // requests under way at a time, to all endpoints
	// EmitCreate makes an event "create" of each decision, for PBXes that send none.
	EmitCreate bool          `yaml:"emit_create"`
	LogFor     time.Duration `yaml:"log_for"`
	LogEntries int           `yaml:"log_entries"` // of an endpoint, at most
}

// DNS says which servers resolve webhooks' names, "address:port"; empty for the system's.
type DNS struct {
	Servers []string `yaml:"servers"`
}

// Dialing is how each PBX writes a destination.
type Dialing struct {
	Asterisk   DialTemplates `yaml:"asterisk"`
	FreeSWITCH DialTemplates `yaml:"freeswitch"`
	Kamailio   DialTemplates `yaml:"kamailio"`
	RustPBX    DialTemplates `yaml:"rustpbx"`
}

// DialTemplates are the texts of one PBX, by kind of destination: {{number}}, or {{user}} and
// {{host}} (with the port, where there is one), or {{login}}.
type DialTemplates struct {
	Number string `yaml:"number"`
	SIP    string `yaml:"sip"`
	Login  string `yaml:"login"`
}

// Project is one customer.
type Project struct {
	ID   string `yaml:"id"`
	Name string `yaml:"name"`
	// DefaultSchema is what a caller gets when all else fails.
	DefaultSchema string `yaml:"default_schema"`
	// AllowPrivateHooks lets hooks have loopback and private addresses.
	AllowPrivateHooks bool         `yaml:"allow_private_hooks"`
	TZ                string       `yaml:"tz"` // of the date parameter; a hook may have its own
	Destinations      Destinations `yaml:"destinations"`
	Dial              *Dialing     `yaml:"dial"`
	// Intakes rename what PBXes say of the project's calls.
	Intakes []IntakeRename `yaml:"intakes"`
	Numbers []Number       `yaml:"numbers"`
	Schemas []Scheme       `yaml:"schemas"`
	Hooks   []Hook         `yaml:"hooks"`
	// Webhooks are told of the project's calls; Incoming are links by which others tell us.
	Webhooks []Webhook  `yaml:"webhooks"`
	Incoming []Incoming `yaml:"incoming"`
	// Version is of the configuration that the project came with: a document's, or that of the
	// file's reading. A decision reports it. ReadOnly is the file that declares the project, empty
	// where the API manages it.
	Version  uint64 `yaml:"-"`
	ReadOnly string `yaml:"-"`
}

// IntakeRename tells under which names of its own a PBX says what the catalogue names otherwise: by
// our parameter's name, the PBX's. A value that comes so is put in the parameter's place, before any
// hook is asked. What is needed to find the project is settled by then: renaming callee selects no
// other number, and renaming callid has no say in which lookups are repeated ones.
type IntakeRename struct {
	Format string            `yaml:"format"` // one of IntakeFormats
	Rename map[string]string `yaml:"rename"`
}

// IntakeFormats are the dialects that a PBX may ask in.
var IntakeFormats = []string{"json", "plain", "json-rpc", "asterisk", "freeswitch", "kamailio", "rustpbx", "twiml", "jambonz"}

// Destinations is what hooks of a project may have dialled.
type Destinations struct {
	Allow  []string `yaml:"allow"`
	Deny   []string `yaml:"deny"`
	Max    int      `yaml:"max"`
	Region string   `yaml:"region"` // reads national numbers as this country's
}

// Number is a DID: a number that can be called, and the scheme that its calls follow.
type Number struct {
	Number      string `yaml:"number"`
	Schema      string `yaml:"schema"`
	Pool        string `yaml:"pool"`
	Replacement string `yaml:"replacement"` // dynamic, static or callback
}

// SetDefaults fills a configuration with what the commented example shows as defaults.
func (c *Config) SetDefaults() {
	*c = Config{
		Listen: "127.0.0.1:8077",
		Admin:  Admin{Listen: "127.0.0.1:8078"},
		Store:  "bolt:data/hookswitch.db",
		Intake: Intake{
			MaxBody: 256 << 10, MaxHeader: 16 << 10, ReadTimeout: 5 * time.Second, IdleTimeout: 10 * time.Minute,
			DrainTimeout: 10 * time.Second, MaxConns: 10000, Budget: 10 * time.Second,
		},
		Log:     Log{Level: "info", Format: "json", SampleFirst: 100, SampleThereafter: 100},
		Tracing: Tracing{Sample: 1},
		Dial:    defaultDialing(),

		Continuation: Continuation{Max: 5, Expires: 10 * time.Minute},
		// SIP's own retransmissions end after 64*T1 = 32 s (RFC 3261, section 17.1.1.2).
		Repeats: Repeats{Window: 32 * time.Second, Memory: 16 << 20},
		Callers: Callers{Keep: 90 * 24 * time.Hour, Deadline: 2 * time.Millisecond},
		Events:  Events{Workers: 256, LogFor: 7 * 24 * time.Hour, LogEntries: 1000},
	}
}

func defaultDialing() Dialing {
	return Dialing{
		Asterisk:   DialTemplates{"PJSIP/{{number}}@trunk", "PJSIP/trunk/sip:{{user}}@{{host}}", "PJSIP/{{login}}"},
		FreeSWITCH: DialTemplates{"sofia/gateway/trunk/{{number}}", "sofia/external/{{user}}@{{host}}", "user/{{login}}"},
		Kamailio:   DialTemplates{"sip:{{number}}@127.0.0.1:5070", "sip:{{user}}@{{host}}", "sip:{{login}}@127.0.0.1"},
		RustPBX:    DialTemplates{"sip:{{number}}@127.0.0.1:5070", "sip:{{user}}@{{host}}", "sip:{{login}}@127.0.0.1"},
	}
}

// SetDefaults fills a project with what the commented example shows as defaults.
func (p *Project) SetDefaults() { *p = Project{Destinations: Destinations{Max: 10}} }

// SetDefaults fills a step with what the commented example shows as defaults.
func (s *Step) SetDefaults() { *s = Step{Strategy: All, Timeout: 30 * time.Second} }
