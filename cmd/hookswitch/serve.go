package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"reflect"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"hookswitch/schema"
)

type serveCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration file."`
}

// Run serves until ctx is done, then drains.
func (c *serveCommand) Run(ctx context.Context) error {
	signal.Ignore(syscall.SIGPIPE) // a log without a reader ends no call
	collectAt(gcPercent)
	watched := watch(c.Config) // before it is read, so that no change goes unseen
	cfg, err := loadFile(c.Config)
	if err != nil {
		return err
	}
	s, err := newService(cfg)
	if err != nil {
		return err
	}
	defer s.close()
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	failed := make(chan error, 2)
	about := []zap.Field{zap.String("version", version), zap.String("listen", listener.Addr().String())}
	if s.admin != nil {
		door, err := net.Listen("tcp", cfg.Admin.Listen)
		if err != nil {
			listener.Close()
			return fmt.Errorf("listen for the admin API: %w", err)
		}
		about = append(about, zap.String("admin", door.Addr().String()))
		go func() { failed <- s.admin.Serve(door) }()
	}
	s.start()
	go func() { failed <- s.intake.Serve(listener) }()
	go watched.run(ctx, func(cause string) { s.reload(c.Config, cause) })
	debug.FreeOSMemory() // what reading the configuration left behind
	s.warnOfFiles(cfg.Intake.MaxConns)
	s.log.Info("serving", append(about, zap.Int("projects", len(s.control.Current().Projects)), zap.String("config", c.Config))...)
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	return s.drain(s.running.Load().Intake.DrainTimeout)
}

// warnOfFiles tells where the system's limit of open files comes before that of connections, of which each
// takes one, and each request to a webhook another.
func (s *service) warnOfFiles(conns int) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && uint64(conns) >= limit.Cur {
		s.log.Warn("fewer files may be open than intake.max_connections needs, and webhooks beside them; raise the limit (ulimit -n, LimitNOFILE), or lower max_connections",
			zap.Uint64("files", limit.Cur), zap.Int("max_connections", conns))
	}
}

func (s *service) countReloads(reg prometheus.Registerer) {
	s.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hookswitch_config_reloads_total", Help: "Reloads of the configuration, by result: ok or refused.",
	}, []string{"result"})
	s.current = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "hookswitch_config_current", Help: "1 while the configuration file is in use, 0 while its last change has been refused.",
	})
	reg.MustRegister(s.reloads, s.current)
	s.reloads.WithLabelValues("ok")
	s.reloads.WithLabelValues("refused")
	s.current.Set(1)
}

// reload takes up the whole of a changed file, or nothing of it.
func (s *service) reload(name, cause string) {
	began := time.Now()
	cfg, gone, err := s.takeUp(name)
	if err != nil {
		s.reloads.WithLabelValues("refused").Inc()
		s.current.Set(0)
		for _, line := range faultLines(err) {
			s.log.Error("reload refused; the last good configuration stays in use", zap.String("cause", cause), zap.String("fault", line))
		}
		return
	}
	if err := s.intake.Apply(cfg.Intake); err != nil {
		s.log.Error("the intake settings stay as they were", zap.Error(err))
	}
	if s.admin != nil {
		s.admin.Apply(cfg.Admin)
	}
	if s.history != nil {
		s.history.Apply(cfg.Callers)
	}
	if s.decisions != nil {
		s.decisions.Mask(cfg.Log.MaskNumbers)
	}
	if level, err := zap.ParseAtomicLevel(cfg.Log.Level); err == nil {
		s.level.SetLevel(level.Level())
	}
	for _, key := range needRestart(s.running.Swap(cfg), cfg) {
		s.log.Warn("this change needs a restart", zap.String("key", key))
	}
	gone.tell(s.log, cfg.Log.MaskNumbers)
	s.reloads.WithLabelValues("ok").Inc()
	s.current.Set(1)
	s.log.Info("reloaded", zap.String("cause", cause), zap.Uint64("table", s.router.Version()),
		zap.Float64("took_ms", float64(time.Since(began))/float64(time.Millisecond)))
	debug.FreeOSMemory() // several times what stays, and nothing else would free it while few calls come
}

// takeUp reads the file again and takes up its projects, and tells what it no longer has.
func (s *service) takeUp(name string) (cfg *schema.Config, gone losses, err error) {
	s.readings++
	was := s.running.Load()
	s.processors.aside(func() {
		if cfg, err = loadAgain(name, s.readings); err != nil {
			return
		}
		if err = refuseSilence(name, was, cfg); err != nil {
			return
		}
		gone = lossesOf(was, cfg)
		err = s.control.SetFile(cfg)
	})
	return cfg, gone, err
}

func faultLines(err error) []string {
	var faults schema.Faults
	if !errors.As(err, &faults) {
		return []string{err.Error()}
	}
	lines := make([]string, len(faults))
	for i := range faults {
		lines[i] = faults[i].Error()
	}
	return lines
}

// needRestart names the keys that a running service cannot change.
func needRestart(old, cfg *schema.Config) []string {
	var keys []string
	for key, changed := range map[string]bool{
		"listen":                  old.Listen != cfg.Listen,
		"admin.listen":            old.Admin.Listen != cfg.Admin.Listen && len(old.Admin.Tokens) > 0,
		"admin.tokens":            len(old.Admin.Tokens) == 0 && len(cfg.Admin.Tokens) > 0, // there is no listener
		"repeats":                 old.Repeats != cfg.Repeats,
		"store":                   old.Store != cfg.Store,
		"dns":                     !reflect.DeepEqual(old.DNS, cfg.DNS),
		"tracing":                 !reflect.DeepEqual(old.Tracing, cfg.Tracing),
		"intake.max_header_bytes": old.Intake.MaxHeader != cfg.Intake.MaxHeader,
		"intake.read_timeout":     old.Intake.ReadTimeout != cfg.Intake.ReadTimeout,
		"intake.idle_timeout":     old.Intake.IdleTimeout != cfg.Intake.IdleTimeout,
	} {
		if changed {
			keys = append(keys, key)
		}
	}
	return keys
}

// drain lets the decisions under way finish, and no longer than within.
func (s *service) drain(within time.Duration) error {
	s.log.Info("draining", zap.Duration("within", within))
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err := s.intake.Shutdown(ctx)
	if s.admin != nil {
		err = errors.Join(err, s.admin.Shutdown(ctx))
	}
	if err != nil {
		return fmt.Errorf("drain: %w; connections that were still open have been closed", err)
	}
	s.log.Info("drained")
	return nil
}
