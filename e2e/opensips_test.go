package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hookswitch/bench/hooksim"
)

// OpenSIPS is not in Debian, and does not run here. What its file asks, and what it looks up in the
// answer, is held against the service itself.

// opensipsProject gives answers with all that the file reads.
const opensipsProject = `
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    destinations: {allow: ["380", "sip:*@pbx.example", "login:*"]}
    numbers:
      - {number: "380442220001", schema: "100"}
      - {number: "380442220002", schema: "101"}
      - {number: "380442220003", schema: "102"}
    schemas:
      - {id: "1", steps: [{dial: ["380440000001"]}]}
      - {id: "100", steps: [{dial: ["380440000002", "sip/ops@pbx.example", "alice"], strategy: in_order, timeout: 20s}, {hook: crm}]}
      - {id: "101", steps: [{hangup: busy}]}
      - {id: "102", steps: [{hook: crm}]}
    hooks: [{id: crm, url: "%s"}]
`

func TestTheOpenSIPSFileAsksAndReadsWhatTheServiceKnows(t *testing.T) {
	text, err := os.ReadFile("../configs/opensips/opensips.cfg")
	if err != nil {
		t.Fatal(err)
	}
	file := string(text)
	var sent []string
	hook := startSim(t, hooksim.Options{OnRequest: func(_, uri, _ string) { sent = append(sent, uri) }})
	s := start(t, fmt.Sprintf(opensipsProject, hook.URL()))

	// ask sends the query that the file builds, its expressions replaced by values in their order.
	query := regexp.MustCompile(`\$var\(query\) = ([^;]+);`).FindStringSubmatch(file)
	if query == nil {
		t.Fatal("the file builds no $var(query)")
	}
	template := strings.Join(regexp.MustCompile(`"[^"]*"|\$\([^()]*(?:\([^()]*\))?[^()]*\)`).FindAllString(query[1], -1), "")
	ask := func(format, callee, callid, cursor string) (int, string) {
		t.Helper()
		filled := strings.NewReplacer(
			`"`, "", `$(var(caller){rest.escape})`, url.QueryEscape("+380501112233"), `$(avp(hs_callee){rest.escape})`, callee,
			`$(ci{rest.escape})`, callid, `$(avp(hs_cursor){rest.escape})`, cursor).Replace(template)
		if strings.Contains(filled, "$") {
			t.Fatalf("the file's query has an expression that this test doesn't know: %s", filled)
		}
		resp, err := http.Get(s.URL + "/v1/route/" + format + "?" + filled)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}

	formats := regexp.MustCompile(`rest_get\("http://127\.0\.0\.1:8077/v1/route/([a-z]+)\?\$var\(query\)"`).FindAllStringSubmatch(file, -1)
	if got := fmt.Sprint(formats); len(formats) != 3 || !strings.Contains(got, " json]") || !strings.Contains(got, " plain]") {
		t.Fatalf("the file asks by %v; want json, json (not waiting) and plain", formats)
	}
	status, dialling := ask("json", "380442220001", "c1", "")
	if status != 200 {
		t.Fatalf("status %d: %s", status, dialling)
	}
	_, refusing := ask("json", "380442220002", "c2", "")
	for _, m := range regexp.MustCompile(`\$json\(answer/((?:[a-z_/\[\]]|\$var\([a-z]\))+)\)`).FindAllStringSubmatch(file, -1) {
		path := strings.NewReplacer("$var(s)", "0", "$var(d)", "0").Replace(m[1])
		if !hasPath(t, dialling, path) && !hasPath(t, refusing, path) {
			t.Errorf("the file reads %s, which is in no answer: %s %s", path, dialling, refusing)
		}
	}
	var d decision
	if err := json.Unmarshal([]byte(dialling), &d); err != nil {
		t.Fatal(err)
	}
	if d.CallID != "c1" || d.Steps[0].Strategy != "in_order" || !slices.Equal(d.Steps[0].Dial, []string{"380440000002", "sip/ops@pbx.example", "alice"}) {
		t.Errorf("got %s; want the call's own id, and the three kinds of destination as the file reads them", dialling)
	}
	if _, body := ask("json", "380442220001", "c1", d.Next); !strings.Contains(body, `"source":"hook"`) {
		t.Errorf("with the cursor: %s; want the hook's answer", body)
	}
	if _, body := ask("plain", "380442220003", "c3", ""); body != "380441111111,380441111112" {
		t.Errorf("plain: %q; want the destinations alone", body)
	}
	if len(sent) != 2 || !strings.Contains(sent[1], "caller=%2B380501112233") {
		t.Errorf("the hook was sent %q; want the caller +380501112233, and two calls", sent)
	}
	if resp, err := http.Get(s.URL + "/v1/route/json?callee=380442220001&budget_ms=x"); err != nil || resp.StatusCode != 400 || !strings.Contains(template, "&budget_ms=1800") {
		t.Errorf("budget_ms: got %v, %v; want a parameter that the service reads, and the file sends", resp, err)
	}
}

// hasPath reports whether a JSON text has the path, as OpenSIPS writes it: a/b[0]/c.
func hasPath(t *testing.T, text, path string) bool {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(strings.ReplaceAll(path, "[0]", "/[0]"), "/") {
		switch at := v.(type) {
		case map[string]any:
			v = at[part]
		case []any:
			if part != "[0]" || len(at) == 0 {
				return false
			}
			v = at[0]
		default:
			return false
		}
	}
	return v != nil
}
