package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"testing"
	"time"
)

// phpProject has a dynamic and a static number, whose calls ask a hook of the test's, the
// documented handler with the parameter replacetype under the name that it expects.
const phpProject = `
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    destinations: {allow: ["380"]}
    numbers:
      - {number: "380442223344", schema: "100", pool: site, replacement: dynamic}
      - {number: "380442223355", schema: "100", pool: shop, replacement: static}
    schemas:
      - {id: "1", name: Operators, steps: [{dial: ["380440000001"]}]}
      - {id: "100", name: Ask the handler, steps: [{hook: php}]}
      - {id: "26076", name: Sales, steps: [{dial: ["380440026076", "380440026077"], strategy: in_order, timeout: 20s}]}
    hooks:
      - {id: php, url: "%s/%s", %s, request_timeout: 5s, params: [{name: insertionType, param: replacetype}, {name: from, param: caller}]}
`

func TestTheDocumentedHandlerRoutesByBothOfItsBranches(t *testing.T) {
	php := startPHP(t)
	for _, tc := range []struct{ name, handler, settings string }{
		{"asked with GET", "get.php", "method: GET, send: http, receive: json"},
		{"asked with a POST form", "form.php", "method: POST, send: http, receive: json"},
		{"asked with headers", "headers.php", "method: GET, send: headers, receive: json"},
		{"asked with POST json", "json.php", "method: POST, send: json, receive: json"},
		{"asked by JSON-RPC", "jsonrpc.php", "method: POST, send: json-rpc, receive: json-rpc"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := start(t, fmt.Sprintf(phpProject, php, tc.handler, tc.settings))

			d, status := s.route(call("380442223344"))
			if status != 200 || d.Source != "hook" || d.Reason != "ok" || value(d.Hook) != "php" || d.Schema != nil || d.DstPhone != "380443334455" {
				t.Errorf("dynamic: got %d %+v; want the number 380443334455, from hook php itself", status, d)
			}
			d, status = s.route(call("380442223355"))
			if status != 200 || d.Source != "hook" || d.Reason != "ok" || value(d.Hook) != "php" || value(d.Schema) != "26076" ||
				d.DstPhone != "380440026076,380440026077" || len(d.Steps) != 1 || d.Steps[0].Strategy != "in_order" || d.Steps[0].TimeoutS != 20 {
				t.Errorf("static: got %d %+v; want the step of schema 26076, named by hook php", status, d)
			}
		})
	}
}

// startPHP serves testdata/php by PHP's own web server, until the test ends, and returns its URL.
func startPHP(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("php"); err != nil {
		t.Fatalf("a real PHP handler is asked here: %v; run scripts/setup, which installs php-cli", err)
	}
	address := freeAddress(t)
	php := exec.Command("php", "-S", address, "-t", "testdata/php")
	var log logBuffer
	php.Stderr = logWriter{&log}
	if err := php.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = php.Process.Kill()
		_ = php.Wait() // reports the kill
		if t.Failed() {
			t.Logf("log of PHP:\n%s", &log)
		}
	})
	waitFor(t, 10*time.Second, "php -S listens on "+address, func() bool {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	return "http://" + address
}

// freeAddress returns an address on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// logWriter keeps what a process writes.
type logWriter struct{ log *logBuffer }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.add(string(p))
	return len(p), nil
}
