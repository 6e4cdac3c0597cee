package schema

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// What loads holds to what the program relies on, loads again alike, and what does not load says
// where and why on one line a fault, without a secret.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/*valid/*.yaml", "../configs/*.yaml"} {
		for _, text := range testFiles(f, pattern) {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		opts := testOptions()
		const secret = "nobody-may-see-this-one"
		opts.Getenv = func(name string) (string, bool) { return secret, len(name) == 5 } // TOKEN, SHORT
		c, err := Load("a.yaml", text, opts)
		if err != nil {
			var faults Faults
			if !errors.As(err, &faults) || c != nil {
				t.Fatalf("got %v and %v; want nothing and Faults", c, err)
			}
			checkFaults(t, faults)
			if strings.Contains(err.Error(), secret) {
				t.Errorf("a secret shows: %v", err)
			}
			return
		}
		checkConfig(t, c)
		again, err := Load("a.yaml", text, opts)
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Errorf("loaded again: %v; got %+v, before %+v", err, again, c)
		}
	})
}

// bigConfig is a configuration of the size that DESIGN's reload goal names.
func bigConfig(numbers, hooks int) []byte {
	var b strings.Builder
	const projects = 10
	for p := range projects {
		if p == 0 {
			b.WriteString("projects:\n")
		}
		fmt.Fprintf(&b, "  - id: p%d\n    default_schema: \"1\"\n    numbers:\n", p)
		for i := range numbers / projects {
			fmt.Fprintf(&b, "      - {number: \"38044%02d%05d\", schema: s%d, pool: site, replacement: dynamic}\n", p, i, i%(hooks/projects))
		}
		b.WriteString("    schemas:\n      - {id: \"1\", name: Operators, steps: [{dial: [\"380440000001\", \"sip/ops@pbx.example\"], timeout: 30s}]}\n")
		for i := range hooks / projects {
			fmt.Fprintf(&b, `      - id: s%d
        hours: {tz: Europe/Kyiv, open: ["mon-fri 09:00-18:00"], holidays: ["2026-12-25"], closed_schema: "1"}
        steps: [{hook: h%d}, {dial: ["380440000001"], timeout: 30s}]
`, i, i)
		}
		b.WriteString("    hooks:\n")
		for i := range hooks / projects {
			fmt.Fprintf(&b, `      - id: h%d
        url: https://crm%d.example/route?call={{callid}}
        method: POST
        send: json
        request_timeout: 800ms
        headers: {X-Api-Key: "key %d"}
        params: [{name: from, param: caller}, {name: id, param: callid, hash: sha256}, {name: tags, list: [source, medium]}, {name: visitor, object: [{name: ip, param: userip}]}, {name: key, value: "abc {{pool}}"}]
        breaker: {failures: 5, window: 10s}
        on_failure: "1"
`, i, i, i)
		}
	}
	return []byte(b.String())
}

func BenchmarkLoad10000Numbers1000Hooks(b *testing.B) {
	text := bigConfig(10_000, 1_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load("a.yaml", text, LoadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
