// Package control keeps the projects that the API manages: it stores each as one versioned document,
// merges them with the file's into one validated configuration, and has every instance take up a
// change within a second. It serves no HTTP, and no decision waits for it: while the store is down,
// the last good configuration stays in use.
package control

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

// ErrReadOnly says that a project can't be changed here, as a file declares it.
type ErrReadOnly struct{ Project, File string }

func (e ErrReadOnly) Error() string {
	return fmt.Sprintf("project %s is declared in %s; change it there", e.Project, e.File)
}

// ErrNotApplied says that a change is stored, and that what was in use before still is.
type ErrNotApplied struct {
	Project string
	Fault   error // why it can't be used
}

func (e ErrNotApplied) Error() string {
	return fmt.Sprintf("project %s is stored, but can't be used: %v; what was in use before still is", e.Project, e.Fault)
}

// Unwrap returns why.
func (e ErrNotApplied) Unwrap() error { return e.Fault }

// ErrUnreadable says that what the store has of a project can't be read, and so not changed in part: it
// is of a newer version of the program, or damaged.
type ErrUnreadable struct {
	Project string
	Fault   error
}

func (e ErrUnreadable) Error() string {
	return fmt.Sprintf("project %s can't be read: %v; change it by the version that wrote it, or delete it", e.Project, e.Fault)
}

// errNoStore is ErrUnavailable for good.
var errNoStore = fmt.Errorf("%w: there is none; name one under store in the configuration", store.ErrUnavailable)

// Options are what a Plane depends on.
type Options struct {
	// Store keeps the documents; nil where there is none, and the file's projects are all there are.
	Store store.Store
	// Apply takes up a configuration, all of it or nothing. It is called by one goroutine at a time.
	// Where its error says by Project() which project is at fault, and the API manages that one, it is
	// called again with what was applied of that one before, and then without it.
	Apply func(*schema.Config) error
	// Prepare tries out whether Apply could make a project ready, before it is stored: schema.Faults,
	// whose keys are paths from the project, where not. Nil where Apply takes all that is checked.
	Prepare func(*schema.Project) error
	Log     *zap.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time // of the audit trail
}

// Plane is the control plane of one instance. It is safe for concurrent use.
type Plane struct {
	opts    Options
	metrics *metrics
	current atomic.Pointer[state] // what was applied last

	// syncing is held by who reads from the store. A channel, since that may take long: whoever waits
	// can go away.
	syncing chan struct{}
	since   uint64    // the change number up to which documents are known; guarded by syncing
	listed  time.Time // when all were read last, zero for never; guarded by syncing

	mu   sync.Mutex           // guards what follows; held for no longer than it takes to look
	file *schema.Config       // nil until SetFile
	docs map[string]*document // by id
	seen uint64               // grows with each change of file and docs

	applying sync.Mutex // one merge at a time; taken before mu
	loaded   chan struct{}
	once     sync.Once // closes loaded
	applied  uint64    // the seen that is in current; guarded by applying
	told     string    // the faults that were logged last; guarded by applying

	good map[string]*schema.Project // the managed projects in use, by id; guarded by applying
}

// document is one project as the store has it.
type document struct {
	version uint64
	sum     [sha256.Size]byte // of its text
	// project is what the document says; of one that is faulty, what it said before, nil where that
	// is not known.
	project *schema.Project
	fault   error
	raw     *schema.Project // of a faulty one that could be read: what can be put right
}

// New returns a Plane that has nothing to apply until SetFile.
func New(o Options) *Plane {
	p := &Plane{opts: o, syncing: make(chan struct{}, 1), docs: map[string]*document{}, loaded: make(chan struct{}), metrics: newMetrics(o.Metrics)}
	p.current.Store(&state{config: &schema.Config{}})
	if o.Store == nil {
		close(p.loaded)
	}
	return p
}

// Loaded is closed once what is in the store has been applied, for the first time; at once where there
// is no store.
func (p *Plane) Loaded() <-chan struct{} { return p.loaded }

// Current returns the configuration in use: the file's projects and the API's. It is read, not changed.
func (p *Plane) Current() *schema.Config { return p.current.Load().config }

// SetFile applies what a file says together with the managed projects known so far. A project that
// says the same as before stays the one in use. On an error everything stays as it was.
func (p *Plane) SetFile(cfg *schema.Config) error {
	p.mu.Lock()
	old := p.file
	p.file = keepSame(old, cfg)
	p.seen++
	seen := p.seen
	p.mu.Unlock()
	err := p.applyUpTo(seen)
	if err != nil {
		p.mu.Lock()
		p.file = old
		p.seen++
		p.mu.Unlock()
	}
	return err
}

// keepSame puts the projects of old in the place of those of cfg that say the same, so that whoever
// knows them need not look at them again.
func keepSame(old, cfg *schema.Config) *schema.Config {
	if old == nil {
		return cfg
	}
	known := make(map[string]*schema.Project, len(old.Projects))
	for _, project := range old.Projects {
		known[project.ID] = project
	}
	kept := *cfg
	kept.Projects = slices.Clone(cfg.Projects)
	var pace schema.Pace
	for i, project := range kept.Projects {
		if was := known[project.ID]; was != nil && schema.Same(was, project) {
			kept.Projects[i] = was
		}
		pace.Breathe()
	}
	return &kept
}

type metrics struct {
	up, version, refused prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		up:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "hookswitch_store_up", Help: "1 while the store answers, 0 while it does not or there is none."}),
		version: prometheus.NewGauge(prometheus.GaugeOpts{Name: "hookswitch_control_version", Help: "The number of the last change to a document that this instance knows."}),
		refused: prometheus.NewGauge(prometheus.GaugeOpts{Name: "hookswitch_control_refused", Help: "What is left out of the projects that the API manages, because it is faulty or another project's."}),
	}
	reg.MustRegister(m.up, m.version, m.refused)
	return m
}
