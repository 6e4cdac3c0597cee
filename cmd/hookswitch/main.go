// Command hookswitch decides in real time where a PBX sends a call: it asks the customer's webhook
// within its timeout, checks the answer, and always gives the PBX something that it can dial. This
// package wires the rooms together and holds no logic of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"hookswitch/bench/hooksim"
	"hookswitch/hookclient"
	"hookswitch/router"
	"hookswitch/schema"
)

// version is stamped by the build.
var version = "dev"

type commands struct {
	Serve   serveCommand   `cmd:"" help:"Run the service. SIGHUP or a changed file reloads it; SIGTERM drains it."`
	Check   checkCommand   `cmd:"" help:"Check a configuration: exit 0, or 1 with every fault, a line each."`
	Route   routeCommand   `cmd:"" help:"Make one decision, as the service would, and print it."`
	Token   tokenCommand   `cmd:"" help:"Make, list and revoke tokens of the admin API."`
	Backup  backupCommand  `cmd:"" help:"Back up the store of a service, while it serves."`
	Restore restoreCommand `cmd:"" help:"Put a backup in the place of the store of a service that is stopped."`
	Hooksim hooksimCommand `cmd:"" help:"Run a simulated customer's webhook to test with."`
	Health  healthCommand  `cmd:"" help:"Ask a running service whether it is ready: exit 0 or 1."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM. A second one then has its
// usual effect, and ends the process without waiting for its drain.
func untilSignal() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals) // before the drain begins, so that no second signal is lost
		cancel()
	}()
	return ctx, func() { signal.Stop(signals) }
}

func main() {
	parser := kong.Must(&commands{},
		kong.Name("hookswitch"),
		kong.Description("A call is ringing; a webhook says where it goes; the caller is always routed."),
		kong.UsageOnError(),
	)
	ctx, stop := untilSignal()
	defer stop()
	line, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	line.BindTo(ctx, (*context.Context)(nil))
	line.BindTo(os.Stdout, (*io.Writer)(nil))
	if err := line.Run(); err != nil {
		stop()
		var within <-chan time.Time // for ever
		if line.Command() == "serve" {
			within = time.After(lastWords) // whoever starts it anew must see it end
		}
		report(os.Stderr, err, within)
		os.Exit(1)
	}
}

// report prints err to w, and waits until that is done, or within ends.
func report(w io.Writer, err error, within <-chan time.Time) {
	text := fmt.Sprintf("hookswitch: %v\n", err)
	if faults := (schema.Faults)(nil); errors.As(err, &faults) {
		text = faults.Error() + "\n"
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.WriteString(w, text)
	}()
	select {
	case <-done:
	case <-within:
	}
}

type checkCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration file."`
}

// Run checks the file by the very functions that serve loads it with, the preparing of each hook
// included, which reads its certificates.
func (c *checkCommand) Run(out io.Writer) error {
	cfg, err := loadFile(c.Config)
	if err != nil {
		return err
	}
	client := hookclient.New(cfg.DNS.Servers)
	r := newRouter(client, router.Options{Log: zap.NewNop(), Metrics: prometheus.NewRegistry(), Now: time.Now})
	defer r.Close()
	if err := r.Load(cfg); err != nil {
		return err
	}
	numbers, hooks := 0, 0
	for _, p := range cfg.Projects {
		numbers += len(p.Numbers)
		hooks += len(p.Hooks)
		if err := prepare(client, p); err != nil {
			return fmt.Errorf("%s: project %s: %v", c.Config, p.ID, err) // its faults have no place in the file
		}
	}
	for _, note := range cfg.Notes {
		fmt.Fprintln(out, note)
	}
	fmt.Fprintf(out, "%s: sound: %d projects, %d numbers, %d hooks\n", c.Config, len(cfg.Projects), numbers, hooks)
	return nil
}

type hooksimCommand struct {
	Listen   string        `default:"127.0.0.1:8079" placeholder:"ADDRESS" help:"Where to listen (${default})."`
	Latency  time.Duration `default:"0s" placeholder:"DURATION" help:"How long each answer takes (${default})."`
	Jitter   time.Duration `default:"0s" placeholder:"DURATION" help:"By how much that varies, up and down (${default})."`
	FailRate float64       `default:"0" placeholder:"SHARE" help:"Share of requests answered with status 500, 0 to 1."`
	HangRate float64       `default:"0" placeholder:"SHARE" help:"Share of requests never answered, 0 to 1."`
	Answer   string        `placeholder:"JSON" help:"The answer's body; destinations by default."`
}

func (c *hooksimCommand) Run(ctx context.Context, out io.Writer) error {
	return hooksim.Run(ctx, hooksim.Options{
		Listen: c.Listen, Latency: c.Latency, Jitter: c.Jitter, FailRate: c.FailRate, HangRate: c.HangRate, Answer: c.Answer,
	}, func(line string) { fmt.Fprintln(out, line) })
}

type healthCommand struct {
	URL string `default:"http://127.0.0.1:8077/readyz" help:"What to ask (${default})."`
}

func (c *healthCommand) Run() error {
	status, body, err := fasthttp.GetTimeout(nil, c.URL, 2*time.Second)
	if err != nil {
		return fmt.Errorf("%s: %w; is the service running, and on that address?", c.URL, err)
	}
	if status != fasthttp.StatusOK {
		return fmt.Errorf("%s: status %d: %s", c.URL, status, body)
	}
	return nil
}

type versionCommand struct{}

func (versionCommand) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, "hookswitch", version)
	return err
}
