package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
	"go.uber.org/zap"

	"hookswitch/hookclient"
	"hookswitch/intake"
	"hookswitch/router"
	"hookswitch/schema"
)

type routeCommand struct {
	Config  string            `short:"c" required:"" placeholder:"FILE" help:"The configuration file."`
	Callee  string            `placeholder:"NUMBER" help:"The number that is called."`
	Caller  string            `placeholder:"NUMBER" help:"The number that calls."`
	Set     map[string]string `placeholder:"NAME=VALUE" mapsep:"none" help:"A further parameter of the call; may be repeated."`
	Explain bool              `help:"Tell the whole story: each step, request, answer and verdict."`
	Format  string            `default:"json" help:"The dialect of the answer (${default})."`
}

// Run makes the decision through the PBX's own door, over a listener in memory, so that what it
// prints is what a PBX would get.
func (c *routeCommand) Run(ctx context.Context, out io.Writer) error {
	cfg, err := loadFile(c.Config)
	if err != nil {
		return err
	}
	// The terminal is not the PBX: its tokens and addresses are not asked for here.
	cfg.Intake.Tokens, cfg.Intake.AllowFrom = nil, nil
	cfg.Intake.TwiMLAuthToken, cfg.Intake.JambonzSecret = schema.Secret{}, schema.Secret{}
	metrics := prometheus.NewRegistry()
	r := newRouter(hookclient.New(cfg.DNS.Servers), router.Options{Log: zap.NewNop(), Metrics: metrics, Now: time.Now})
	defer r.Close()
	if err := r.Load(cfg); err != nil {
		return err
	}
	witness := &explainer{router: r, explain: c.Explain}
	door, err := intake.New(intake.Options{Decide: witness, Settings: cfg.Intake, Registerer: metrics, Now: time.Now})
	if err != nil {
		return err
	}
	status, answer, err := askThrough(ctx, door, c.question())
	if err != nil {
		return err
	}
	if c.Explain {
		witness.tell(out, isTerminal(out))
	}
	fmt.Fprintln(out, strings.TrimRight(string(answer), "\n"))
	if status != fasthttp.StatusOK {
		return fmt.Errorf("refused with status %d", status)
	}
	return nil
}

// question is the lookup's path and query.
func (c *routeCommand) question() string {
	q := url.Values{}
	for name, value := range c.Set {
		q.Set(name, value)
	}
	for name, value := range map[string]string{"callee": c.Callee, "caller": c.Caller} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return "/v1/route/" + url.PathEscape(c.Format) + "?" + q.Encode()
}

// askThrough sends one GET through the door and returns what a PBX would see.
func askThrough(ctx context.Context, door *intake.Server, path string) (status int, body []byte, err error) {
	memory := fasthttputil.NewInmemoryListener()
	served := make(chan error, 1)
	go func() { served <- door.Serve(memory) }()
	client := &fasthttp.HostClient{
		Addr: "hookswitch", Dial: func(string) (net.Conn, error) { return memory.Dial() }, MaxIdemponentCallAttempts: 1,
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI("http://hookswitch" + path)
	req.SetConnectionClose()
	err = client.Do(req, resp)
	body = append([]byte(nil), resp.Body()...)
	closing, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return resp.StatusCode(), body, errors.Join(err, door.Shutdown(closing), <-served)
}

// explainer is a Decider that has each decision explained, and keeps the story.
type explainer struct {
	router  *router.Router
	explain bool
	story   []string
}

// Decide implements intake.Decider.
func (e *explainer) Decide(call *schema.Call, d *schema.Decision) {
	call.Explain = e.explain
	e.router.Decide(call, d)
	if !e.explain {
		return
	}
	e.story = append(e.story, "the call, as the webhook could be told:")
	e.story = append(e.story, known(call)...)
	e.story = append(e.story, "the walk:")
	e.story = append(e.story, d.Trail...)
	for _, w := range d.Warnings {
		e.story = append(e.story, "warning: "+w)
	}
	e.story = append(e.story, fmt.Sprintf("decided by %s, reason %s, after %.1f ms", d.Source, d.Reason, float64(d.Elapsed)/float64(time.Millisecond)))
	for i := range e.story {
		e.story[i] = strings.Clone(e.story[i])
	}
}

// known lists the parameters that have a value, by name.
func known(call *schema.Call) []string {
	var lines []string
	for p := schema.Param(0); p < schema.ParamCount; p++ {
		if v := call.Get(p); v != "" {
			lines = append(lines, fmt.Sprintf("  %s = %q", p.Name(), v))
		}
	}
	for _, c := range call.Customs() {
		lines = append(lines, fmt.Sprintf("  %s = %q", c.Name, c.Value))
	}
	sort.Strings(lines)
	return lines
}

// tell prints the story; on a terminal, failures stand out.
func (e *explainer) tell(out io.Writer, colour bool) {
	for _, line := range e.story {
		if colour {
			line = coloured(line)
		}
		fmt.Fprintln(out, line)
	}
}

const (
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

func coloured(line string) string {
	switch {
	case strings.HasPrefix(line, "decided by hook"), strings.HasPrefix(line, "decided by schema"):
		return bold + green + line + plain
	case strings.HasPrefix(line, "decided by"):
		return bold + yellow + line + plain
	case strings.HasPrefix(line, "warning"):
		return yellow + line + plain
	case strings.HasSuffix(line, ":"):
		return bold + line + plain
	}
	first, rest, more := strings.Cut(line, "\n")
	for r := schema.ReasonOK + 1; r < schema.ReasonCount; r++ {
		if strings.Contains(first, " "+r.String()+": ") {
			first = red + first + plain
			break
		}
	}
	if more {
		return first + "\n" + dim + rest + plain
	}
	return first
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
