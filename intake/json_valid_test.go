package intake

import (
	"encoding/json"
	"strings"
	"testing"
)

// What encoding/json calls valid, we do, unless it is nested too deep; and nothing else.
func FuzzIsJSON(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `{}`, `[]`, `{"a":1}`, ` { "a" : [ 1 , -0.5e+7 , true , false , null , "\u12aB\n" ] } `, `"long enough for eight bytes: \"Київ\""`,
		`{"a":}`, `{"a" 1}`, `{a:1}`, `{"a":1,}`, `[1,]`, `[,1]`, `{}{}`, `01`, `-`, `1.`, `.5`, `1e`, `tru`, `"a`, `"\x"`, `"\u12g4"`, "\"a\nb\"", "\"\x7f\"", "\"\xff\"", "\xef\xbb\xbf{}", "[1}", "\"12345678\\",
		strings.Repeat("[", maxNesting) + strings.Repeat("]", maxNesting), strings.Repeat("[", maxNesting+1) + strings.Repeat("]", maxNesting+1),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want := json.Valid(text) && nesting(text) <= maxNesting
		if got := isJSON(text); got != want {
			t.Fatalf("%q: got %v; encoding/json says %v, %d deep", text, got, json.Valid(text), nesting(text))
		}
	})
}

func BenchmarkIsJSON25Fields(b *testing.B) {
	text := twentyFiveFields()
	b.ReportAllocs()
	for b.Loop() {
		if !isJSON(text) {
			b.Fatal("not valid")
		}
	}
}

// What reads an object checks it on the way, and finds what isJSON finds.
func FuzzObjectIsReadOnlyWhereItIsOne(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"callee":"1"}`, `{"a":1,}`, `{"a":1 "b":2}`, `{"a"}`, `{"a":}`, `{,}`, `{"a":null,"b":"null"}`, `{"a":[1,{"b":2}]}x`,
		`{"a":"\u00e9\n\"","é":tru}`, `{"format":"no such","a":`, `{"a":1}}`, `{"a":"` + "\x01" + `"}`, `[]`, `"a"`, ``, `{"a" : -0.5e+1 , "b" : true }`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var q question
		got := q.readObject(text)
		want := validJSON(text, '{')
		switch {
		case want == nil && got != nil && (got.rpc == rpcParseError || got.rpc == rpcInvalidRequest):
			t.Errorf("%q: got %q; it is an object", text, got.message)
		case want != nil && (got == nil || got.message != want.message):
			t.Errorf("%q: got %+v; want %q", text, got, want.message)
		}
		if want != nil || got != nil {
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
