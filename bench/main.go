// Command bench measures hookswitch beside what a user would run in its place, on this machine, and
// writes down what it finds. It drives real programs over loopback: the built binary, nginx, haproxy,
// and the peers in Go that it holds itself.
package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"hookswitch/bench/peers"
)

type commands struct {
	Run      runCommand      `cmd:"" help:"Measure everything, and write the report."`
	Report   reportCommand   `cmd:"" help:"Write the report of a run anew from its JSON."`
	Compare  compareCommand  `cmd:"" help:"Compare two runs' JSON, or with --ref two builds in one run."`
	Scenario scenarioCommand `cmd:"" help:"Play scenarios, and fail where a call was lost."`
	Profile  profileCommand  `cmd:"" help:"Record a CPU profile of hookswitch under load, for go tool pprof and PGO."`

	Hook hookCommand `cmd:"" hidden:"" help:"A simulated webhook, told how to behave on standard input."`
	Peer peerCommand `cmd:"" hidden:"" help:"One of the peers in Go."`
}

func main() {
	parser := kong.Must(&commands{}, kong.Name("bench"), kong.UsageOnError(),
		kong.Vars{"parts": strings.Join(partNames(), ", ")},
		kong.Description("What hookswitch costs, beside what a user would run in its place."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	line, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	line.BindTo(ctx, (*context.Context)(nil))
	parser.FatalIfErrorf(line.Run())
}

type peerCommand struct {
	Name   string `arg:"" enum:"bare,nethttp"`
	Listen string `required:""`
	Hook   string `required:""`
}

func (c *peerCommand) Run() error {
	if c.Name == "bare" {
		return peers.ServeBare(c.Listen, c.Hook)
	}
	return peers.ServeNetHTTP(c.Listen, c.Hook)
}
