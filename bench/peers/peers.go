package peers

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed nginx.conf nginx-lua.conf haproxy.cfg
var configs embed.FS

// Peer is a program beside which hookswitch is measured.
type Peer struct {
	Name  string
	Title string
	// Does says whether it does hookswitch's job, or passes requests through.
	Does string
	make func(setting) (Program, error)
}

// setting is what every peer is told.
type setting struct {
	Dir                   string // for its files
	Listen, Hook          string // addresses
	GetNumber, PostNumber string
	self                  string // the harness' own program, which holds the peers in Go
}

// Peers are all there are, in the order of the report.
var Peers = []Peer{
	{"bare", "bare fasthttp pass-through", "the limit: no lookup, no check", inGo("bare")},
	{"nginx", "nginx, plain proxy", "upstream keep-alive", fromFile("nginx", "nginx.conf", "nginx", "-e", "stderr", "-c")},
	{"haproxy", "haproxy, plain proxy", "http-reuse always", fromFile("haproxy", "haproxy.cfg", "haproxy", "-db", "-f")},
	{"lua", "nginx with Lua", "lookup, parse, check, fallback", fromFile("lua", "nginx-lua.conf", "nginx", "-e", "stderr", "-c")},
	{"nethttp", "Go net/http", "encoding/json, gobreaker; the same job", inGo("nethttp")},
}

// Program prepares a peer's files in dir and returns how to run it. self is the path of the harness.
func (p Peer) Program(self, dir, hook string) (Program, error) {
	listen, err := FreeAddr()
	if err != nil {
		return Program{}, err
	}
	return p.make(setting{Dir: dir, Listen: listen, Hook: hook, self: self, GetNumber: Number(0), PostNumber: Number(1)})
}

func fromFile(name, file string, argv ...string) func(setting) (Program, error) {
	return func(s setting) (Program, error) {
		t, err := template.ParseFS(configs, file)
		if err != nil {
			return Program{}, fmt.Errorf("peer %s: %w", name, err)
		}
		path := filepath.Join(s.Dir, file)
		out, err := os.Create(path)
		if err != nil {
			return Program{}, fmt.Errorf("peer %s: %w", name, err)
		}
		defer out.Close()
		if err := t.Execute(out, s); err != nil {
			return Program{}, fmt.Errorf("peer %s: %w", name, err)
		}
		return Program{
			Name: name, Argv: append(argv[:len(argv):len(argv)], path), Addr: s.Listen, Log: filepath.Join(s.Dir, name+".log"),
			Env: []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin"}, // where Debian keeps servers
		}, nil
	}
}

func inGo(name string) func(setting) (Program, error) {
	return func(s setting) (Program, error) {
		return Program{
			Name: name, Argv: []string{s.self, "peer", name, "--listen", s.Listen, "--hook", s.Hook},
			Addr: s.Listen, Log: filepath.Join(s.Dir, name+".log"),
		}, nil
	}
}
