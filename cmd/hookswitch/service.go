package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"hookswitch/admin"
	"hookswitch/admin/console"
	"hookswitch/control"
	"hookswitch/history"
	"hookswitch/hookclient"
	"hookswitch/intake"
	"hookswitch/notify"
	"hookswitch/router"
	"hookswitch/schema"
	"hookswitch/store"
)

// service is the rooms, wired.
type service struct {
	log       *zap.Logger
	lines     *logLines // of log
	level     zap.AtomicLevel
	registry  *prometheus.Registry
	store     store.Store // nil for none
	damaged   bool        // the store's file was, at the start, and is not used
	client    *hookclient.Client
	decisions *admin.Decisions // nil while no token is configured, so that nobody could ask
	history   *history.History // nil without a store
	router    *router.Router
	notify    *notify.Notify
	intake    *intake.Server
	control   *control.Plane
	admin     *admin.Server                 // nil while no token is configured
	running   atomic.Pointer[schema.Config] // the file, as loaded last
	readings  uint64                        // of the file; one goroutine reloads
	tracing   func()                        // flushes the spans
	reloads   *prometheus.CounterVec
	current   prometheus.Gauge
	ready     atomic.Bool

	processors processors

	end        context.CancelFunc // of what runs behind the calls
	background sync.WaitGroup
}

// newService wires everything that one configuration asks for. What is in the store is taken up by
// start.
func newService(cfg *schema.Config) (s *service, err error) {
	s = &service{readings: 1, end: func() {}, tracing: func() {}, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			s.close()
			s = nil
		}
	}()
	s.running.Store(cfg)
	if err := s.openLog(cfg.Log); err != nil {
		return s, err
	}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.countReloads(s.registry)
	if s.store, err = s.openStore(cfg.Store); err != nil {
		return s, err
	}
	s.client = hookclient.New(cfg.DNS.Servers)
	if err := s.newDeciders(cfg); err != nil {
		return s, err
	}
	if err := s.newDoors(cfg); err != nil {
		return s, err
	}
	s.control = control.New(control.Options{
		Store: s.store, Apply: s.apply, Log: s.log, Metrics: s.registry, Now: time.Now,
		Prepare: func(p *schema.Project) error { return prepare(s.client, p) },
	})
	if err := s.control.SetFile(cfg); err != nil {
		return s, err
	}
	if s.decisions != nil {
		if err := s.newAdmin(cfg); err != nil {
			return s, err
		}
	}
	s.ready.Store(true)
	return s, nil
}

// newDeciders wires what decides calls, and what is told of it.
func (s *service) newDeciders(cfg *schema.Config) error {
	tracer, flush, err := newTracer(cfg.Tracing, s.log)
	if err != nil {
		return err
	}
	s.tracing = flush
	o := router.Options{
		Log: sampled(s.log, cfg.Log), Metrics: s.registry, Tracer: tracer, Now: time.Now, Repeats: cfg.Repeats, Observe: s.observe,
	}
	n := notify.Options{Store: s.store, Sender: sender{s.client}, Log: s.log, Registerer: s.registry, Settings: cfg.Events}
	if s.store != nil {
		if s.history, err = history.New(history.Options{Store: s.store, Settings: cfg.Callers, Log: s.log, Metrics: s.registry}); err != nil {
			return err
		}
		o.Memory, n.Memory = s.history, s.history
	}
	if len(cfg.Admin.Tokens) > 0 {
		s.decisions = admin.NewDecisions()
		s.decisions.Mask(cfg.Log.MaskNumbers)
	}
	s.router = newRouter(s.client, o)
	s.notify = notify.New(n)
	return nil
}

// observe is told of every decision.
func (s *service) observe(call *schema.Call, d *schema.Decision) {
	if s.decisions != nil {
		s.decisions.Observe(call, d)
	}
	s.notify.Emit(call, d)
}

// newDoors wires the PBX's door.
func (s *service) newDoors(cfg *schema.Config) (err error) {
	o := intake.Options{
		Decide: s.router, Settings: cfg.Intake, Log: sampled(s.log, cfg.Log), Ready: s.ready.Load,
		Registerer: s.registry, Gatherer: s.registry, Now: time.Now,
		Events: s.notify, ProjectOf: s.router.ProjectOf,
	}
	if s.decisions != nil {
		o.Watching = s.decisions.Watching
	}
	if s.history != nil {
		o.Remember = s.history
	}
	s.intake, err = intake.New(o)
	return err
}

// newAdmin wires the operators' door.
func (s *service) newAdmin(cfg *schema.Config) (err error) {
	o := admin.Options{
		Settings: cfg.Admin, Plane: s.control, Store: s.store, Router: s.router, Log: s.log, Registerer: s.registry,
		Live: admin.Live{Decisions: s.decisions, Rehearse: s.router, Hooks: s.router, Webhook: s.client, Render: intake.Render},
	}
	if s.store != nil {
		o.Deliveries, o.Live.Backlog = s.notify, s.notify.Backlog
	}
	pages, err := console.New(console.Options{API: func(c *fasthttp.RequestCtx) { s.admin.Handle(c) }, Address: s.address, Log: s.log})
	if err != nil {
		return err
	}
	o.Console = pages.Handle
	s.admin, err = admin.New(o)
	return err
}

// address is the URL at which a PBX finds the service: the public one, or that of the listener as seen from
// this machine.
func (s *service) address() string {
	cfg := s.running.Load()
	if cfg.Intake.PublicURL != "" {
		return strings.TrimSuffix(cfg.Intake.PublicURL, "/")
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return "http://127.0.0.1:" + port
	}
	return "http://" + cfg.Listen
}

// newRouter returns a router whose hooks are asked over the network.
func newRouter(client *hookclient.Client, o router.Options) *router.Router {
	o.Prepare = func(p *schema.Project, h *schema.Hook) (router.Asker, error) { return client.Prepare(p, h) }
	return router.New(o)
}

// sender makes webhooks ready for deliveries over the network.
type sender struct{ client *hookclient.Client }

// Prepare implements notify.Sender.
func (s sender) Prepare(p *schema.Project, w *schema.Webhook) (notify.Endpoint, error) {
	return s.client.PrepareWebhook(p, w)
}

// apply takes up a configuration, the file's projects and the API's, all of it or nothing.
func (s *service) apply(cfg *schema.Config) error {
	rooms := []func(*schema.Config) error{
		s.notify.Load, s.router.Load, func(cfg *schema.Config) error { return s.intake.ApplyIncoming(cfg.Projects) },
	}
	for i, load := range rooms {
		err := load(cfg)
		if err == nil {
			continue
		}
		was := s.control.Current()
		for _, back := range rooms[:i] {
			err = errors.Join(err, back(was))
		}
		return err
	}
	return nil
}

// start sets going what runs behind the calls.
func (s *service) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.end = cancel
	s.background.Go(func() { s.control.Run(ctx) })
	if !s.damaged {
		s.awaitStore()
	}
	if file, ok := s.store.(*store.Bolt); ok {
		s.background.Go(func() { s.tell(ctx, file.Alarms()) })
	}
	if s.history != nil {
		// Answers are told once: before the managed projects are known, those of their hooks would be
		// passed over for good.
		s.background.Go(func() {
			select {
			case <-s.control.Loaded():
				s.history.Follow(s.router.Learn)
			case <-ctx.Done():
			}
		})
	}
	s.background.Go(func() { s.notify.Run(ctx) })
	s.background.Go(func() { s.processors.followEvents(ctx, s.notify.Accepted) })
}

// close ends what drain has left, in the order in which the rooms need each other.
func (s *service) close() {
	s.end()
	s.background.Wait()
	if s.notify != nil {
		s.notify.Close()
	}
	if s.history != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		s.history.Close(ctx)
		cancel()
	}
	if s.router != nil {
		s.router.Close()
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.log.Warn("the store did not close well", zap.Error(err))
		}
	}
	s.tracing()
	if s.lines != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastWords)
		s.lines.close(ctx)
		cancel()
	}
}
