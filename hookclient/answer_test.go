package hookclient

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"hookswitch/schema"
)

const corpusID = 7 // the id that the JSON-RPC answers of these tests are to have

// readAnswer reads body as a hook with the default settings would, but for receive and field.
func readAnswer(receive, field, body string) *schema.Answer {
	r := newReader(&schema.Hook{Receive: receive, Field: field, MaxAnswer: 64 << 10}, "")
	a := new(schema.Answer)
	r.read(a, []byte(body), nil, nil, corpusID)
	return a
}

// summary writes an answer as the corpus' .want files do.
func summary(a *schema.Answer) string {
	switch {
	case a.Reason != schema.ReasonOK:
		return a.Reason.String() + ": " + a.Detail
	case a.Schema != "":
		return "schema " + a.Schema
	}
	var all []string
	for _, d := range a.Destinations {
		all = append(all, d.String())
	}
	return strings.Join(all, "\n")
}

// TestEveryAnswerOfTheCorpusIsReadAsItsWantFileSays reads testdata/answers: a file's name begins
// with the way it is received, and the answer that belongs to it is in the file of that name with
// .want. A new case is two new files.
func TestEveryAnswerOfTheCorpusIsReadAsItsWantFileSays(t *testing.T) {
	for _, kind := range []string{"valid", "invalid"} {
		for name, body := range corpus(t, kind) {
			t.Run(kind+"/"+name, func(t *testing.T) {
				want, err := os.ReadFile(filepath.Join("testdata/answers", kind, name+".want"))
				if err != nil {
					t.Fatal(err)
				}
				receive, _, _ := strings.Cut(name, ".")
				a := readAnswer(receive, "dst_phone", body)
				if got := summary(a); got != strings.TrimSuffix(string(want), "\n") {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				if (a.Reason == schema.ReasonOK) != (kind == "valid") {
					t.Errorf("reason %s for an answer under %s", a.Reason, kind)
				}
			})
		}
	}
}

func corpus(t testing.TB, kind string) map[string]string {
	files, err := filepath.Glob(filepath.Join("testdata/answers", kind, "*"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files of %s answers, %v; want the corpus", len(files), kind, err)
	}
	bodies := make(map[string]string)
	for _, f := range files {
		if strings.HasSuffix(f, ".want") {
			continue
		}
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		bodies[filepath.Base(f)] = string(body)
	}
	return bodies
}

func TestTheFirstFieldThatHoldsAnythingCounts(t *testing.T) {
	for _, c := range []struct{ name, field, body, want string }{
		{"the configured field goes before the usual ones", "phone", `{"dst_phone":"380441111112","phone":"380441111111"}`, "380441111111"},
		{"a field inside an object", "data.phone", `{"data":{"phone":380441111111}}`, "380441111111"},
		{"a field inside an array", "items.0.phone", `{"items":[{"phone":"380441111111"},{"phone":"380441111112"}]}`, "380441111111"},
		{"a field of every item of an array", "items.#.phone", `{"items":[{"phone":"380441111111"},{"phone":380441111112}]}`, "380441111111\n380441111112"},
		{"dst_phone without the configured field", "phone", `{"dst_callee":"380441111112","dst_phone":"380441111111"}`, "380441111111"},
		{"dst_callee without dst_phone", "phone", `{"schema":1,"dst_callee":"380441111111"}`, "380441111111"},
		{"schema without any other", "phone", `{"schema":26076}`, "schema 26076"},
		{"schema as the configured field goes before dst_phone", "schema", `{"dst_phone":"380441111111","schema":"100"}`, "schema 100"},
		{"schema inside an object", "data.schema", `{"data":{"schema":"night-1"}}`, "schema night-1"},
		{"no configured field at all", "", `{"dst_phone":"380441111111"}`, "380441111111"},
		{"a null is passed over", "phone", `{"phone":null,"dst_phone":"380441111111"}`, "380441111111"},
		{"a false is passed over", "phone", `{"phone":false,"dst_phone":"380441111111"}`, "380441111111"},
		{"an empty string is passed over", "phone", `{"phone":"","dst_phone":"380441111111"}`, "380441111111"},
		{"a blank string is passed over", "phone", `{"phone":" \t\r\n","dst_phone":"380441111111"}`, "380441111111"},
		{"an empty array is passed over", "phone", `{"phone":[ ],"dst_phone":"380441111111"}`, "380441111111"},
		{"an empty object is passed over", "phone", `{"phone":{ },"dst_phone":"380441111111"}`, "380441111111"},
		{"a malformed field is not passed over", "phone", `{"phone":"a b","dst_phone":"380441111111"}`, `invalid_destination: phone: destination 1 is "a b": not a number, a SIP address or a login`},
		{"the first of duplicate keys counts", "dst_phone", `{"dst_phone":"380441111111","dst_phone":"380441111112"}`, "380441111111"},
		{"the first of duplicate keys counts in relaxed JSON", "dst_phone", `{dst_phone:'380441111111',"dst_phone":"380441111112"}`, "380441111111"},
		{"an escaped key is the same key", "dst_phone", `{"dst\u005fphone":"380441111111"}`, "380441111111"},
		{"nothing in any field", "phone", `{"phone":"","number":"380441111111"}`, `no_destination: nothing in phone, dst_phone, dst_callee, schema; found ` + "`" + `{"phone":"","number":"380441111111"}` + "`"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := summary(readAnswer("json", c.field, c.body)); got != c.want {
				t.Errorf("%s\ngot  %s\nwant %s", c.body, got, c.want)
			}
		})
	}
}

func TestANationalNumberIsReadAsTheConfiguredRegions(t *testing.T) {
	r := newReader(&schema.Hook{Receive: "json", Field: "dst_phone"}, "UA")
	a := new(schema.Answer)
	r.read(a, []byte(`{"dst_phone":"0441112233,(044) 111-22-34"}`), nil, nil, 0)
	if got := summary(a); got != "380441112233\n380441112234" {
		t.Error(got)
	}
}

func TestTheIDOfAResponseMustBeTheRequests(t *testing.T) {
	r := newReader(&schema.Hook{Receive: "json-rpc"}, "")
	for id, accepted := range map[string]bool{
		`18446744073709551615`: true, `"18446744073709551615"`: true,
		`1844674407370955161`: false, `"018446744073709551615"`: false, `1.8446744073709551615e19`: false, `18446744073709551614`: false,
		`null`: false, `[18446744073709551615]`: false, `true`: false, `""`: false,
	} {
		a := new(schema.Answer)
		r.read(a, []byte(`{"jsonrpc":"2.0","result":"380441111111","id":`+id+`}`), nil, nil, 1<<64-1)
		if (a.Reason == schema.ReasonOK) != accepted {
			t.Errorf("id %s: %s %s", id, a.Reason, a.Detail)
		}
	}
}

func TestAnAbsurdCountOfDestinationsIsForbidden(t *testing.T) {
	r := newReader(&schema.Hook{Receive: "json", MaxAnswer: 2 << 20}, "")
	for _, c := range []struct {
		name, body string
		count      int
	}{
		{"a thousand in a list", `{"dst_phone":"` + numbers(1000) + `"}`, 1000},
		{"a thousand among empty items", `{"dst_phone":"` + strings.ReplaceAll(numbers(1000), ",", ",,,") + `"}`, 1000},
		{"one more", `{"dst_phone":"` + numbers(1001) + `"}`, 0},
		{"ten thousand in a list", `{"dst_phone":"` + numbers(10000) + `"}`, 0},
		{"ten thousand in an array", `{"dst_phone":[` + numbers(10000) + `]}`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := new(schema.Answer)
			r.read(a, []byte(c.body), nil, nil, 0)
			switch {
			case len(a.Destinations) != c.count:
				t.Errorf("%d destinations; want %d", len(a.Destinations), c.count)
			case c.count == 0 && summary(a) != "forbidden_destination: dst_phone holds more than 1000 destinations":
				t.Error(summary(a))
			}
		})
	}
}

func numbers(n int) string {
	var b []byte
	for i := range n {
		b = append(strconv.AppendInt(b, 380440000000+int64(i), 10), ',')
	}
	return string(b[:len(b)-1])
}

func TestAMegabyteInOneValueIsRefusedWithAShortDetail(t *testing.T) {
	long := strings.Repeat("3", 1<<20)
	for body, reason := range map[string]schema.Reason{
		`{"dst_phone":` + long + `}`:         schema.ReasonInvalidDestination,
		`{"dst_phone":"` + long + `"}`:       schema.ReasonInvalidDestination,
		`{"dst_phone":-` + long + `}`:        schema.ReasonInvalidDestination,
		`{"schema":` + long + `}`:            schema.ReasonUnknownSchema,
		`{"` + long + `":1}`:                 schema.ReasonNoDestination,
		`{dst_phone: ` + long:                schema.ReasonBadAnswer,
		strings.Repeat("[", 1<<20):           schema.ReasonBadAnswer,
		strings.Repeat(`{"a":`, 1<<18):       schema.ReasonBadAnswer,
		`{"a":` + strings.Repeat("[", 1<<20): schema.ReasonBadAnswer,
	} {
		r := newReader(&schema.Hook{Receive: "json", MaxAnswer: 2 << 20}, "")
		a := new(schema.Answer)
		r.read(a, []byte(body), nil, nil, 0)
		if a.Reason != reason || len(a.Detail) > 300 {
			t.Errorf("%.20s…: %s, %d bytes of detail: %.300s; want %s", body, a.Reason, len(a.Detail), a.Detail, reason)
		}
	}
}

func TestWhatWasInTheBufferStaysAndNothingOfTheBodyIsUsedAfterwards(t *testing.T) {
	for _, body := range []string{`{"dst_phone":"380441111111,sip:a@b.example"}`, `{dst_phone: '380441111111,sip:a@b.example'}`} {
		r := newReader(&schema.Hook{Receive: "json"}, "")
		a := &schema.Answer{Buf: []byte("kept"), Schema: "stale", Detail: "stale"}
		sent := []byte(body)
		r.read(a, sent, nil, nil, 0)
		clear(sent)
		if got := summary(a); got != "380441111111\nsip:a@b.example" || a.Detail != "" || !bytes.HasPrefix(a.Buf, []byte("kept")) {
			t.Errorf("%s: got %s, buffer %q", body, got, a.Buf)
		}
		before := string(a.Buf)
		r.read(a, []byte("<html>"), nil, nil, 0)
		if len(a.Destinations) != 0 || string(a.Buf) != before {
			t.Errorf("after a failure: %v, buffer %q", a.Destinations, a.Buf)
		}
	}
}

func TestAPlainAnswerIsReadWithoutAllocating(t *testing.T) {
	for _, c := range []struct{ name, receive, body string }{
		{"one number", "json", `{"dst_phone":380443334455}`},
		{"several in a list", "json", `{"dst_phone":"380441111111,380441111112,380441111113"}`},
		{"several in an array", "json", `{"dst_phone":["380441111111",380441111112]}`},
		{"a scheme", "json", `{"schema":26076}`},
		{"relaxed JSON", "json", `{ dst_phone: '380441111111,380441111112,380441111113' }`},
		{"text", "http", "380441111111,380441111112"},
		{"a JSON-RPC result", "json-rpc", `{"jsonrpc":"2.0","result":"380441111111","id":7}`},
	} {
		r := newReader(&schema.Hook{Receive: c.receive, Field: "dst_phone"}, "")
		a, body, contentType := new(schema.Answer), []byte(c.body), []byte("application/json; charset=utf-8")
		n := testing.AllocsPerRun(100, func() {
			a.Reset()
			r.read(a, body, contentType, nil, corpusID)
		})
		if n != 0 || a.Reason != schema.ReasonOK {
			t.Errorf("%s: %v allocations, %s", c.name, n, summary(a))
		}
	}
}

// dialable holds every byte that schema.Destination's grammar knows.
var dialable = regexp.MustCompile(`^[0-9A-Za-z+*#._:/@\[\]-]+$`)

// fuzzedFields are an operator's, not a webhook's: their variety is that of configurations.
var fuzzedFields = []string{"dst_phone", "", "data.phone", "items.#.phone", "data.schema", "items.0", "*", `a\.b|@reverse`}

func FuzzAnswer(f *testing.F) {
	for _, kind := range []string{"valid", "invalid"} {
		for name, body := range corpus(f, kind) {
			receive, _, _ := strings.Cut(name, ".")
			f.Add(receive, byte(0), []byte(body), "", "")
		}
	}
	f.Add("json", byte(3), []byte(`{"items":[{"phone":380441111111},{"phone":"a,,b"}]}`), "text/html; charset=windows-1251", "identity")
	f.Add("json", byte(4), []byte("\xff\xfe{\x00}\x00"), "text/plain; charset=utf-16", "")
	f.Add("http", byte(0), []byte("\x1f\x8b\x08"), "", "gzip")
	f.Fuzz(func(t *testing.T, receive string, field byte, body []byte, contentType, coding string) {
		r := newReader(&schema.Hook{Receive: receive, Field: fuzzedFields[int(field)%len(fuzzedFields)]}, "")
		a, again := new(schema.Answer), &schema.Answer{Buf: []byte("in use")}
		sent := bytes.Clone(body)
		r.read(a, sent, []byte(contentType), []byte(coding), corpusID)
		clear(sent) // fasthttp's memory is not ours after the call
		r.read(again, body, []byte(contentType), []byte(coding), corpusID)
		if summary(a) != summary(again) {
			t.Fatalf("read once %q, then %q", summary(a), summary(again))
		}
		checkAnswer(t, a)
	})
}

// checkAnswer asserts what the router relies on: destinations or a scheme or a failure, and nothing
// among them that a PBX could take for anything else.
func checkAnswer(t *testing.T, a *schema.Answer) {
	if a.Reason != schema.ReasonOK {
		if len(a.Destinations) > 0 || a.Schema != "" || a.Detail == "" || len(a.Detail) > 2000 {
			t.Fatalf("%s with %v, schema %q, detail %q", a.Reason, a.Destinations, a.Schema, a.Detail)
		}
		for _, c := range a.Detail {
			if !strconv.IsPrint(c) {
				t.Fatalf("%U in the detail %q", c, a.Detail)
			}
		}
		return
	}
	if (len(a.Destinations) > 0) == (a.Schema != "") || len(a.Destinations) > 1000 || a.Detail != "" {
		t.Fatalf("%d destinations and schema %q, detail %q", len(a.Destinations), a.Schema, a.Detail)
	}
	if a.Schema != "" && !regexp.MustCompile(`^[0-9A-Za-z_.-]{1,64}$`).MatchString(a.Schema) {
		t.Fatalf("schema %q", a.Schema)
	}
	for _, d := range a.Destinations {
		text := d.String()
		if same, err := schema.ParseDestination(text, ""); err != nil || same != d || !dialable.MatchString(text) {
			t.Fatalf("%q reads back as %+v, %v; was %+v", text, same, err, d)
		}
	}
}

func BenchmarkReadStrict(b *testing.B) {
	benchmarkRead(b, `{"dst_phone":"380441111111,380441111112,380441111113"}`)
}

func BenchmarkReadRelaxed(b *testing.B) {
	benchmarkRead(b, `{ dst_phone: '380441111111,380441111112,380441111113' }`)
}

func benchmarkRead(b *testing.B, text string) {
	r := newReader(&schema.Hook{Receive: "json", Field: "dst_phone"}, "")
	a, body := new(schema.Answer), []byte(text)
	b.ReportAllocs()
	for b.Loop() {
		a.Reset()
		r.read(a, body, nil, nil, 0)
	}
	if len(a.Destinations) != 3 {
		b.Fatal(summary(a))
	}
}
