package peers

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// firstNumber is the first number of a configuration; the others follow it. They have 12 digits.
const firstNumber = 380440000000

// Number returns number i of a configuration.
func Number(i int) string { return fmt.Sprint(firstNumber + i) }

// FirstNumber is Number(0) as a number.
func FirstNumber() uint64 { return firstNumber }

// What a question holds and a hook is sent: six parameters in a GET, twenty-five fields in a POST.
var (
	getFields  = []string{"callid", "caller", "callee", "source", "medium", "userip"}
	postFields = append(getFields[:6:6], "type", "campaign", "term", "content", "useruuid", "callroute", "uniquefirst",
		"lastpage", "landing", "replacetype", "gaid", "fullnum", "ivrnum", "roistat", "useragent", "project_id", "E164", "pool", "custom")
)

// GetTarget is the path and query of a six-parameter question, with marks for the load generator.
func GetTarget(path string) string {
	return path + "?callid={{callid}}&caller=380501112233&callee={{callee}}&source=google&medium=cpc&userip=192.0.2.17"
}

// PostBody is a question of twenty-five fields, with marks for the load generator.
func PostBody() string {
	var b strings.Builder
	b.WriteString(`{"callid":"{{callid}}","caller":"380501112233","callee":"{{callee}}"`)
	for i, name := range postFields[3:] {
		fmt.Fprintf(&b, `,%q:"the value of field %d"`, name, i+4)
	}
	b.WriteString("}")
	return b.String()
}

// Config is a configuration of hookswitch, of any size. Number i belongs to hook i modulo Hooks, and
// hook h to project h modulo Projects; it asks HookAddrs[h modulo their number].
type Config struct {
	Projects, Hooks, Numbers int
	HookAddrs                []string
	// Post makes every second hook one that is sent twenty-five fields by POST; the others are sent
	// six parameters by GET.
	Post bool
	// RequestTimeout, MaxInFlight and Breaker (its YAML, "{state: closed}") are every hook's; their
	// zero values leave the defaults.
	RequestTimeout time.Duration
	MaxInFlight    int
	Breaker        string
	// Edition goes into the names of schemes, so that a reload has something to take up.
	Edition int
}

// Program writes the configuration into dir and returns how to run binary with it.
func (c Config) Program(name, binary, dir string) (Program, error) {
	listen, err := FreeAddr()
	if err != nil {
		return Program{}, err
	}
	file := filepath.Join(dir, name+".yaml")
	if err := c.WriteFile(file, listen); err != nil {
		return Program{}, err
	}
	return Program{Name: name, Argv: []string{binary, "serve", "-c", file}, Addr: listen, Log: filepath.Join(dir, name+".log")}, nil
}

// WriteFile writes the configuration, at once and whole: a running hookswitch may be watching it.
func (c Config) WriteFile(name, listen string) error {
	next := name + ".next"
	f, err := os.Create(next)
	if err != nil {
		return fmt.Errorf("write a configuration: %w", err)
	}
	w := bufio.NewWriter(f)
	c.write(w, listen)
	if err := w.Flush(); err != nil {
		f.Close()
		return fmt.Errorf("write a configuration: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write a configuration: %w", err)
	}
	return os.Rename(next, name)
}

func (c Config) write(w *bufio.Writer, listen string) {
	fmt.Fprintf(w, "# Written by the load harness.\nlisten: %s\nstore: none\nprojects:\n", listen)
	for p := range c.Projects {
		fmt.Fprintf(w, "  - id: p%d\n    default_schema: operators\n    allow_private_hooks: true\n", p)
		fmt.Fprintf(w, "    destinations: {allow: [\"380\"]}\n    numbers:\n")
		for h := p; h < c.Hooks; h += c.Projects {
			for i := h; i < c.Numbers; i += c.Hooks {
				fmt.Fprintf(w, "      - {number: \"%s\", schema: s%d}\n", Number(i), h)
			}
		}
		fmt.Fprintf(w, "    schemas:\n      - {id: operators, name: Edition %d, steps: [{dial: [\"380440000001\"], timeout: 30s}]}\n", c.Edition)
		for h := p; h < c.Hooks; h += c.Projects {
			fmt.Fprintf(w, "      - {id: s%d, steps: [{hook: h%d}, {dial: [\"380440000001\"], timeout: 30s}]}\n", h, h)
		}
		fmt.Fprintf(w, "    hooks:\n")
		for h := p; h < c.Hooks; h += c.Projects {
			c.writeHook(w, h)
		}
	}
}

func (c Config) writeHook(w *bufio.Writer, h int) {
	method, send, fields := "GET", "http", getFields
	if c.Post && h%2 == 1 {
		method, send, fields = "POST", "json", postFields
	}
	fmt.Fprintf(w, "      - id: h%d\n        url: http://%s/route\n        method: %s\n        send: %s\n        receive: json\n",
		h, c.HookAddrs[h%len(c.HookAddrs)], method, send)
	if c.RequestTimeout > 0 {
		fmt.Fprintf(w, "        request_timeout: %s\n", c.RequestTimeout)
	}
	if c.MaxInFlight > 0 {
		fmt.Fprintf(w, "        max_in_flight: %d\n", c.MaxInFlight)
	}
	if c.Breaker != "" {
		fmt.Fprintf(w, "        breaker: %s\n", c.Breaker)
	}
	fmt.Fprintf(w, "        params: [")
	for i, name := range fields {
		if i > 0 {
			w.WriteString(", ")
		}
		fmt.Fprintf(w, "{name: %s, param: %s}", name, name)
	}
	w.WriteString("]\n")
}
