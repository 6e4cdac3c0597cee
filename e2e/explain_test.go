package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// run runs the binary to its end, and returns what it printed and its exit status.
func run(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// The secrets of the hooks under explanation, which no output may hold.
const (
	headerSecret   = "kQ9vheadersecret"
	passwordSecret = "kQ9vpasswordsecret"
	bearerSecret   = "kQ9vbearersecret"
	signSecret     = "kQ9vsignsecret"
	querySecret    = "kQ9vquerysecret"
	paramSecret    = "kQ9vparamsecret"
)

// explainConfig has one number, whose scheme asks one hook with the given settings, YAML in flow
// style.
func explainConfig(nameServer, hook string) string {
	return fmt.Sprintf(`
dns: {servers: [%q]}
projects:
  - id: "1"
    default_schema: "1"
    allow_private_hooks: true
    destinations: {allow: ["380", "sip:*@pbx.example"], deny: ["380900"]}
    numbers: [{number: "380442220001", schema: ask}]
    schemas:
      - {id: "1", name: Operators, steps: [{dial: ["380440000001", "sip/ops@pbx.example"]}]}
      - {id: ask, name: Ask the CRM, steps: [{hook: crm}]}
    hooks: [{id: crm, %s}]
`, nameServer, hook)
}

// attempt is what a line of an attempt looks like, up to what was wrong: when it began, its number,
// the URL, how long it took.
const attempt = `(?m)^ +\d+\.\d ms  attempt %d: %s took \d+\.\d ms: %s`

// TestExplainIsEnoughToMendTheWebhook: for each failure, the output names every attempt with its
// time, status and what was wrong, shows the question and the answer, and tells no secret.
func TestExplainIsEnoughToMendTheWebhook(t *testing.T) {
	ca := newAuthority(t)
	serve := func(talk conversation) string { return "http://" + serveTCP(t, talk) + "/route" }
	ok := func(body string, headers ...string) string { return serve(answers(reply(200, body, headers...))) }
	expired := serveTCP(t, secured(ca.issue("crm.example", time.Now().Add(-time.Hour)), answers(reply(200, good))))
	_, expiredPort, _ := strings.Cut(expired, ":")
	nameServer := serveDNS(t, map[string]netip.Addr{"crm.example.": netip.MustParseAddr("127.0.0.1"), "metadata.example.": netip.MustParseAddr("169.254.169.254")})
	failing, unavailable, refused := serve(answers(reply(500, "PHP Fatal error: no such table", "Content-Type: text/plain"))),
		serve(answers(reply(503, "try later"))), "http://"+refusingAddress(t)+"/route"

	for _, c := range []struct {
		name string
		hook string // settings after the URL
		url  string
		// attempts are what each attempt's first line says after its time, a regular expression.
		attempts []string
		reason   string
		also     []string // further strings that must stand in the output
	}{
		{name: "a status that is not 2xx", url: failing, reason: "bad_status",
			attempts: []string{`status 500, bad_status: status 500 Internal Server Error; want 2xx$`},
			also:     []string{"PHP Fatal error: no such table"}},
		{name: "a status that is worth a second request", url: unavailable, reason: "bad_status",
			attempts: []string{`status 503, bad_status: `, `status 503, bad_status: status 503 Service Unavailable; want 2xx$`}},
		{name: "a redirect", url: serve(answers(reply(302, "", "Location: /login"))), reason: "bad_status",
			attempts: []string{`status 302, bad_status: .*follow_redirects`}},
		{name: "no answer in time", url: serve(hangs("")), hook: ", request_timeout: 100ms", reason: "timeout",
			attempts: []string{`timeout: no complete answer within the request timeout`}},
		{name: "a refused connection", url: refused, reason: "connect_error",
			attempts: []string{`connect_error: .*connection refused`, `connect_error: .*connection refused`}},
		{name: "a name that does not resolve", url: "http://missing.example/route", reason: "dns_error",
			attempts: []string{`dns_error: .*missing\.example.*no such host`, `dns_error: `}},
		{name: "a certificate that has expired", url: "https://crm.example:" + expiredPort + "/route", reason: "tls_error",
			hook: fmt.Sprintf(", tls: {ca: %q}", ca.file), attempts: []string{`tls_error: .*certificate has expired`}},
		{name: "an address that may not be asked", url: "http://metadata.example/route", reason: "hook_blocked",
			attempts: []string{`hook_blocked: .*169\.254\.169\.254.*may not be asked`}},
		{name: "a page in place of JSON", url: ok("<!DOCTYPE html><title>Login</title>", "Content-Type: text/html"), reason: "bad_answer",
			attempts: []string{`status 200, bad_answer: .*not a JSON object`}, also: []string{"<!DOCTYPE html><title>Login</title>"}},
		{name: "JSON that ends too early", url: ok(good[:20]), reason: "bad_answer",
			attempts: []string{`status 200, bad_answer: .*not a JSON object`}, also: []string{good[:20]}},
		{name: "a JSON-RPC error", url: ok(`{"jsonrpc":"2.0","error":{"code":-32601,"message":"no such method"},"id":1}`), reason: "bad_answer",
			hook:     ", method: POST, send: json-rpc, receive: json-rpc, rpc_method: find_route",
			attempts: []string{`status 200, bad_answer: JSON-RPC error -32601: "no such method"`},
			also:     []string{`"jsonrpc":"2.0"`, `"method":"find_route"`}},
		{name: "another request's id", url: ok(`{"jsonrpc":"2.0","result":"380441111111","id":77}`), reason: "bad_answer",
			hook: ", method: POST, send: json-rpc, receive: json-rpc", attempts: []string{`status 200, bad_answer: id is 77; want the request's, 1`}},
		{name: "the wrong field", url: ok(`{"phone":"380441111111"}`), reason: "no_destination",
			attempts: []string{`status 200, no_destination: nothing in dst_phone, dst_callee, schema; found`}, also: []string{`{"phone":"380441111111"}`}},
		{name: "an empty answer", url: ok(""), reason: "no_destination",
			attempts: []string{`status 200, no_destination: the body is empty`}},
		{name: "a national number", url: ok(`{"dst_phone":"0441111111"}`), reason: "invalid_destination",
			attempts: []string{`status 200, invalid_destination: dst_phone: destination 1 is "0441111111": a national number; want the international form`}},
		{name: "a number that may not be dialled", url: ok(`{"dst_phone":"380900111111"}`), reason: "forbidden_destination",
			attempts: []string{`status 200, ok$`}, also: []string{"forbidden_destination: ", "warning: 380900111111 dropped: not allowed by the project's destinations"}},
		{name: "a scheme that is not there", url: ok(`{"schema":26076}`), reason: "unknown_schema",
			attempts: []string{`status 200, ok$`}, also: []string{"unknown_schema: the answer names schema 26076, which the project does not have"}},
		{name: "a second URL that fails as well", url: failing, hook: fmt.Sprintf(", fallback_url: %q", unavailable), reason: "bad_status",
			attempts: []string{`status 500, bad_status: `, `status 503, bad_status: `, `status 503, bad_status: `}},
	} {
		t.Run(c.name, func(t *testing.T) {
			secrets := fmt.Sprintf(`, headers: {X-Api-Key: %q, X-Shop: "${SHOP_KEY}"}, auth: {basic: {user: shop, password: %q}}, sign: %q, params: [{name: from, param: caller}, {name: to, param: callee}, {name: api_key, value: %q}]`,
				headerSecret, passwordSecret, signSecret, paramSecret)
			file := writeConfig(t, explainConfig(nameServer, fmt.Sprintf("url: %q", c.url+"?token="+querySecret)+c.hook+secrets))
			out, errs, code := run(t, []string{"SHOP_KEY=" + bearerSecret}, "route", "-c", file, "--callee", "380442220001", "--caller", "380501112233", "--set", "city=Київ", "--explain")
			if code != 0 || errs != "" {
				t.Fatalf("exit %d: %s\n%s", code, errs, out)
			}
			checkStory(t, out, c.url, c.attempts, c.reason)
			for _, want := range c.also {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not told", want)
				}
			}
			checkNoSecrets(t, out)
			if t.Failed() {
				t.Log("\n" + out)
			}
		})
	}
}

// checkStory wants the call, the walk with each attempt, the verdict and, in the last line, the
// answer that the PBX gets.
func checkStory(t *testing.T, out, url string, attempts []string, reason string) {
	t.Helper()
	for _, want := range []string{
		`caller = "380501112233"`, `callee = "380442220001"`, `city = "Київ"`, `following schema ask "Ask the CRM"`,
		`following schema 1 "Operators"`, "decided by fallback, reason " + reason + ", after ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not told", want)
		}
	}
	for i, want := range attempts {
		where := regexp.QuoteMeta(url)
		if i > 0 {
			where = `http://\S+`
		}
		if !regexp.MustCompile(fmt.Sprintf(attempt, i+1, where, want)).MatchString(out) {
			t.Errorf("attempt %d is not told as %q", i+1, want)
		}
	}
	if strings.Contains(out, fmt.Sprintf("attempt %d:", len(attempts)+1)) {
		t.Errorf("more than %d attempts", len(attempts))
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	var d decision
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &d); err != nil || d.Source != "fallback" || d.Reason != reason || d.DstPhone != operators {
		t.Errorf("the last line is not the PBX's answer: %v: %s", err, lines[len(lines)-1])
	}
	if strings.Contains(out, "\x1b") {
		t.Error("colours, though this is no terminal")
	}
}

// checkNoSecrets looks for each secret as it is, and as it travels.
func checkNoSecrets(t *testing.T, out string) {
	t.Helper()
	for _, secret := range []string{headerSecret, passwordSecret, bearerSecret, signSecret, querySecret, paramSecret} {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
			if strings.Contains(out, form) {
				t.Errorf("the secret %s is told", secret)
			}
		}
	}
	if strings.Contains(out, base64.StdEncoding.EncodeToString([]byte("shop:"+passwordSecret))) {
		t.Error("the Basic credentials are told")
	}
	if regexp.MustCompile(`v1,[A-Za-z0-9+/]{8}`).MatchString(out) {
		t.Error("the signature is told")
	}
}

// writeConfig writes a configuration into a file of the test's own.
func writeConfig(t *testing.T, config string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hookswitch.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestCheckPrintsALineForEachFault: FILE:LINE:COLUMN: key: found …; want …, in the file's order.
func TestCheckPrintsALineForEachFault(t *testing.T) {
	file := writeConfig(t, `listen: nowhere
projects:
  - id: "1"
    default_schema: "9"
    numbers: [{number: "380442220001", schema: ask}]
    schemas:
      - {id: ask, name: Ask, steps: [{hook: crn}]}
    hooks:
      - id: crm
        url: https://crm.example/
        method: FETCH
        request_timeout: 800
        auth: {bearer: "a token with blanks"}
        retries: 3
`)
	out, errs, code := run(t, nil, "check", "-c", file)
	if code != 1 || out != "" {
		t.Errorf("exit %d, prints %q; want 1 and nothing but faults", code, out)
	}
	want := []string{
		`1:9: listen: found "nowhere"; want `,
		`4:21: projects[0].default_schema: found "9"; want `,
		`7:45: projects[0].schemas[0].steps[0].hook: found "crn"; want `,
		`11:17: projects[0].hooks[0].method: found "FETCH"; want GET, POST, PUT, PATCH or DELETE`,
		`12:26: projects[0].hooks[0].request_timeout: found "800" without a unit; want `,
		`13:24: projects[0].hooks[0].auth.bearer: found a secret; want `,
		`14:9: projects[0].hooks[0].retries: found unknown key "retries"; want `,
	}
	lines := strings.Split(strings.TrimSuffix(errs, "\n"), "\n")
	for i, line := range lines {
		if i >= len(want) || !strings.HasPrefix(line, file+":"+want[i]) {
			t.Errorf("line %d: %s", i+1, line)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d lines; want %d", len(lines), len(want))
	}
	if strings.Contains(errs, "token with blanks") {
		t.Error("the secret is told")
	}
}

func TestCheckSaysThatAFileIsSound(t *testing.T) {
	file := writeConfig(t, explainConfig("127.0.0.1:53", `url: "https://crm.example/"`))
	out, errs, code := run(t, nil, "check", "-c", file)
	if want := file + ": sound: 1 projects, 1 numbers, 1 hooks\n"; code != 0 || out != want || errs != "" {
		t.Errorf("exit %d, %q, %q; want 0 and %q", code, out, errs, want)
	}
}

// A webhook without an id is another one after its URL is edited, and what waited for it is given up.
func TestCheckTellsOfWebhooksWithoutID(t *testing.T) {
	file := writeConfig(t, explainConfig("127.0.0.1:53", `url: "https://crm.example/"`)+`
    webhooks:
      - {id: 1, url: "https://crm.example/", event: create}
      - {url: "https://crm.example/", event: destroy}
`)
	out, errs, code := run(t, nil, "check", "-c", file)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || errs != "" || len(lines) != 2 || !strings.Contains(lines[0], ": note: projects[0].webhooks[1]: it has no id") {
		t.Errorf("exit %d, %q, %q; want 0 and a note of the second webhook", code, out, errs)
	}
}
