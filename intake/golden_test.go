package intake

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// The corpus: testdata/<dialect>/{valid,invalid}/NAME.http is a request as it is sent, except that
// its lines end in LF and that the test adds Content-Length. NAME.golden beside it is what the
// server understood of it, and its answer. UPDATE_GOLDEN=1 writes the .golden files anew: read the
// difference before committing it.
func TestQuestionsAreUnderstoodAndAnswered(t *testing.T) {
	var asked string
	s := start(t, func(o *Options) {
		o.Decide = decideFunc(func(c *schema.Call, d *schema.Decision) {
			asked = describe(c)
			decideOK(c, d)
		})
	})
	for _, file := range corpus(t) {
		t.Run(file, func(t *testing.T) {
			asked = "nothing was decided\n"
			conn := s.dial(t)
			_, _ = conn.Write(readRequest(t, file))
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			decided := asked != "nothing was decided\n"
			if valid := filepath.Base(filepath.Dir(file)) == "valid"; valid != decided {
				t.Errorf("decided: %v, in %s", decided, filepath.Dir(file))
			}
			golden(t, strings.TrimSuffix(file, ".http")+".golden",
				fmt.Sprintf("%s\n%s %s\n%s", asked, answer.Status, answer.Header.Get("Content-Type"), body))
		})
	}
}

func corpus(t testing.TB) []string {
	files, err := filepath.Glob("testdata/*/*valid/*.http")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d corpus files under testdata (%v); want them all", len(files), err)
	}
	return files
}

func readRequest(t testing.TB, file string) []byte {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := bytes.Cut(text, []byte("\n\n"))
	body = bytes.TrimSuffix(body, []byte("\n"))
	head = bytes.ReplaceAll(bytes.TrimSpace(head), []byte("\n"), []byte("\r\n"))
	if len(body) > 0 {
		head = fmt.Appendf(head, "\r\nContent-Length: %d", len(body))
	}
	return append(append(head, "\r\n\r\n"...), body...)
}

// describe lists all that a call says, one a line.
func describe(c *schema.Call) string {
	var b strings.Builder
	for _, v := range []struct{ name, value string }{
		{"project", c.Project}, {"hook", c.Hook}, {"schema", c.Schema}, {"cursor", c.Cursor}, {"traceparent", c.Traceparent},
	} {
		if v.value != "" {
			fmt.Fprintf(&b, "%s: %q\n", v.name, v.value)
		}
	}
	fmt.Fprintf(&b, "deadline: %v\n", c.Deadline.Sub(c.At))
	for p := range schema.ParamCount {
		if c.Said(p) {
			fmt.Fprintf(&b, "param %s = %q\n", p.Name(), c.Get(p))
		}
	}
	for _, v := range c.Customs() {
		fmt.Fprintf(&b, "custom %s = %q\n", v.Name, v.Value)
	}
	return b.String()
}

// Every decision of this list is written in every dialect: testdata/<dialect>/decisions/.
func TestDecisionsAreWrittenInEveryDialect(t *testing.T) {
	number := func(n string) schema.Destination { return schema.Destination{User: n} }
	for name, d := range map[string]schema.Decision{
		"hook": {
			CallID: "3333333333.3333333", Project: "1001", Source: schema.SourceHook, Hook: "crm", Elapsed: 4200 * time.Microsecond,
			Steps: []schema.DecidedStep{{Dial: []schema.Destination{number("380441111111"), number("380441111112")}, Strategy: schema.All, Timeout: 90 * time.Second}},
		},
		"fallback-scheme": {
			CallID: "a", Project: "1001", Source: schema.SourceFallback, Reason: schema.ReasonTimeout, Hook: "crm", Schema: "1", Elapsed: 803*time.Millisecond + 96*time.Microsecond,
			Steps: []schema.DecidedStep{
				{Playback: "please-wait"},
				{Dial: []schema.Destination{{Kind: schema.KindSIP, User: "ops", Host: "pbx.example", Port: 5062}, {Kind: schema.KindSIP, User: "ops", Host: "pbx.example", Slash: true}, {Kind: schema.KindLogin, User: "ivan.k"}},
					Strategy: schema.InOrder, Timeout: 1500 * time.Millisecond, MOH: "jazz", Announce: "beep"},
				{Dial: []schema.Destination{number("380440000001")}, Strategy: schema.RoundRobin, Timeout: 30 * time.Second},
				{Voicemail: "100@default"},
				{Hangup: "no_answer"},
			},
			Warnings: []string{"380900000000 is not allowed", "380441111111 twice"},
		},
		"no-hook-closed": {
			Project: "1001", Source: schema.SourceSchema, Reason: schema.ReasonClosed, Schema: "2", Steps: []schema.DecidedStep{{Hangup: "busy"}},
		},
		"continued-and-repeated": {
			CallID: "b", Project: "1001", Source: schema.SourceLastGood, Reason: schema.ReasonBreakerOpen, Hook: "crm", Next: "eyJ-_abc", Repeated: true,
			Steps: []schema.DecidedStep{{Dial: []schema.Destination{number("380441111111")}, Strategy: schema.All, Timeout: 90 * time.Second}},
		},
		"hostile-text": {
			CallID: "\"\\\b\f\n\r\t\x00\x1f\x7f</script>\u2028\u2029\xff\xed\xa0\x80Київ 😀", Project: "1'0", Source: schema.SourceSchema, Schema: `"`,
			Steps: []schema.DecidedStep{{Playback: `${SYSTEM(x)}"`}},
		},
		"no-steps": {Project: "1001", Source: schema.SourceFallback, Reason: schema.ReasonInternal, Schema: "1"},
	} {
		copy(d.ID[:], "01JNAVMH0000000000000000AA")
		q := &question{asked: asked{rpc: envelope{id: []byte(`"id-1"`)}}}
		for f := range formatCount {
			golden(t, filepath.Join("testdata", formatNames[f], "decisions", name+".golden"), string(dialects[f].decision(nil, q, &d)))
		}
	}
}

// golden compares got with a file's content.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\ngot\n%s\nwant\n%s", file, got, want)
	}
}
