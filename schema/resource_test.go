package schema

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// anyOf makes a value of a type, as one that the decoder could have made: no empty lists.
func anyOf(t reflect.Type, r *rand.Rand, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	words := []string{"", "a", "380442223344", "true", "null", "1.5", "tab\tand \"quotes\" \\ </script>", "кирилиця 😀", "${HOME}", "{{caller}}", " blank "}
	word := func() string { return words[r.IntN(len(words))] }
	switch {
	case t == secretType:
		return reflect.ValueOf(NewSecret(word()))
	case t == durationType:
		v.SetInt(r.Int64N(int64(100*time.Hour)) >> r.IntN(40))
	case t.Kind() == reflect.String:
		v.SetString(word())
	case t.Kind() == reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		v.SetInt(r.Int64() >> r.IntN(63))
	case t.Kind() == reflect.Float64:
		v.SetFloat(float64(r.IntN(1e6)) / 1000)
	case t.Kind() == reflect.Pointer:
		if r.IntN(2) == 0 {
			v.Set(reflect.New(t.Elem()))
			v.Elem().Set(anyOf(t.Elem(), r, depth))
		}
	case t.Kind() == reflect.Slice:
		for range r.IntN(3) {
			if depth < 12 {
				v.Set(reflect.Append(v, anyOf(t.Elem(), r, depth+1)))
			}
		}
	case t.Kind() == reflect.Map:
		for range r.IntN(3) {
			if v.IsNil() {
				v.Set(reflect.MakeMap(t))
			}
			v.SetMapIndex(reflect.ValueOf(word()), anyOf(t.Elem(), r, depth+1))
		}
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if tag := t.Field(i).Tag.Get("yaml"); tag != "" && tag != "-" {
				v.Field(i).Set(anyOf(t.Field(i).Type, r, depth+1))
			}
		}
	}
	if s, ok := v.Addr().Interface().(*Step); ok && len(s.Dial) == 0 {
		var d Step
		d.SetDefaults()
		s.Strategy, s.Timeout, s.MOH, s.Announce = d.Strategy, d.Timeout, "", ""
	}
	return v
}

var resources = []any{Project{}, Number{}, Scheme{}, Hook{}, IntakeRename{}, Webhook{}, Incoming{}}

func TestAnElementThatWasEncodedIsDecodedAsTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, kind := range resources {
		for range 300 {
			want := anyOf(reflect.TypeOf(kind), r, 0)
			text, err := EncodeResource(want.Interface(), true)
			if err != nil {
				t.Fatal(err)
			}
			got := reflect.New(want.Type())
			if err := DecodeResource(text, got.Interface()); err != nil {
				t.Fatalf("%T: %v in %s", kind, err, text)
			}
			if !reflect.DeepEqual(got.Elem().Interface(), want.Interface()) {
				t.Fatalf("%s: got\n%+v\nwant\n%+v", text, got.Elem(), want)
			}
		}
	}
}

func TestWhatIsShownAndSentBackKeepsItsSecrets(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, kind := range resources {
		for range 300 {
			was := anyOf(reflect.TypeOf(kind), r, 0)
			distinct(was.Addr())
			text, err := EncodeResource(was.Addr().Interface(), false)
			if err != nil {
				t.Fatal(err)
			}
			back := reflect.New(was.Type())
			if err := DecodeResource(text, back.Interface()); err != nil {
				t.Fatalf("%T: %v in %s", kind, err, text)
			}
			KeepSecrets(was.Addr().Interface(), back.Interface())
			if !reflect.DeepEqual(back.Elem().Interface(), was.Interface()) {
				t.Fatalf("%s: got\n%#v\nwant\n%#v", text, back.Elem(), was)
			}
		}
	}
}

// distinct gives elements of a list ids and names of their own, and secrets texts that nothing else has.
func distinct(v reflect.Value) {
	n := 0
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		n++
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Struct:
			for _, key := range []string{"ID", "Name"} {
				switch f := v.FieldByName(key); {
				case !f.IsValid() || !f.CanSet():
				case f.Kind() == reflect.String:
					f.SetString(fmt.Sprint("x", n))
				case f.Kind() == reflect.Int64:
					f.SetInt(int64(n))
				}
			}
			for i := range v.NumField() {
				if v.Field(i).CanSet() {
					walk(v.Field(i))
				}
			}
		}
	}
	walk(v)
}

func TestSecretsAreTakenFromTheElementOfTheSameNameWhereverItStands(t *testing.T) {
	hook := func(id, key string) Hook {
		return Hook{ID: id, Sign: NewSecret(key), Headers: map[string]Secret{"X-A": NewSecret("a of " + id)}}
	}
	from := Project{Hooks: []Hook{hook("one", "1"), hook("two", "2")}}
	into := Project{Hooks: []Hook{hook("two", "***"), hook("new", "***"), hook("one", "changed")}}
	into.Hooks[0].Headers = map[string]Secret{"X-A": NewSecret("***"), "X-B": NewSecret("***")}
	KeepSecrets(&from, &into)
	got := []string{into.Hooks[0].Sign.Reveal(), into.Hooks[1].Sign.Reveal(), into.Hooks[2].Sign.Reveal(),
		into.Hooks[0].Headers["X-A"].Reveal(), into.Hooks[0].Headers["X-B"].Reveal()}
	if want := []string{"2", "***", "changed", "a of two", "***"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestNoSecretShowsUnlessItIsRevealed(t *testing.T) {
	w := Webhook{Sign: NewSecret("hunter2"), Headers: []NamedSecret{{"X", NewSecret("hunter2")}}, Auth: Auth{Basic: &BasicAuth{"u", NewSecret("hunter2")}}}
	text, err := EncodeResource(&w, false)
	if err != nil || strings.Contains(string(text), "hunter2") || strings.Count(string(text), `"***"`) != 3 {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestAnElementInJSONIsReadByTheRulesOfTheFile(t *testing.T) {
	var in Incoming
	in.SetDefaults()
	in.ID, in.Key, in.Token = "a", "phone", NewSecret("${HOME}")
	for _, tc := range []struct {
		text string
		into any
		want string // the value, or the faults
	}{
		{`{"id":"a","key":"phone","token":"${HOME}"}`, &Incoming{}, fmt.Sprintf("%+v", in)},
		{"{\n\t\"number\": 380442223344,\n\t\"pool\": \"\\ud83d\\ude00\\/\", \"schema\": null}", &Number{}, "{Number:380442223344 Schema: Pool:😀/ Replacement:}"},
		{`{"format":"json","rename":{"callid":"a"}}`, &IntakeRename{}, "{Format:json Rename:map[callid:a]}"},
		{`{"steps":[{"dial":["380440000001"]},{"dial":"x"}],"id":true}`, &Scheme{}, "steps[1].dial: found text; want a list, [one, two]\nid: found true; want text; in quotes where that is the text"},
		{`{"breaker":{"window":"10"}}`, &Hook{}, `breaker.window: found "10" without a unit; want a duration with its unit, such as 800ms, 30s or 1h30m`},
		{`{"breaker":{"window":10}}`, &Hook{}, `breaker.window: found "10" without a unit; want a duration with its unit, such as 800ms, 30s or 1h30m`},
		{`{"max_in_flight":"8"}`, &Hook{}, `max_in_flight: found "8"; want a whole number`},
		{`{"max_in_flight":8.5}`, &Hook{}, `max_in_flight: found "8.5"; want a whole number`},
		{`{"idempotent":"true"}`, &Hook{}, `idempotent: found "true"; want true or false`},
		{`{"sign":"file:/etc/passwd"}`, &Hook{}, `sign: found file:; want the secret itself; files are read for the configuration file only`},
		{`{"ulr":"x"}`, &Hook{}, `ulr: found unknown key "ulr"; want url (did you mean that?)`},
		{`{"url":"x","url":"y"}`, &Hook{}, `url: found the key a second time; want it once`},
		{`[]`, &Hook{}, "document: found a list; want a JSON object"},
		{``, &Hook{}, "document: found a syntax error: the text ends too early; want a JSON object"},
		{`{"url":`, &Hook{}, "document: found a syntax error: the text ends too early; want a JSON object"},
		{`{} {}`, &Hook{}, "document: found a syntax error: something after the value's end; want a JSON object"},
		{`{"url":'x'}`, &Hook{}, "document: found a syntax error: invalid character '\\'' looking for beginning of value; want a JSON object"},
	} {
		err := DecodeResource([]byte(tc.text), tc.into)
		got := fmt.Sprintf("%+v", reflect.ValueOf(tc.into).Elem())
		if err != nil {
			if got = err.Error(); !errors.As(err, new(Faults)) {
				t.Errorf("%s: got a %T; want Faults", tc.text, err)
			}
		}
		if got != tc.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tc.text, got, tc.want)
		}
	}
	if err := DecodeResource([]byte(strings.Repeat(`{"object":[`, 1e5)), &ParamRule{}); !errors.As(err, new(Faults)) {
		t.Errorf("deep nesting: got %v; want Faults", err)
	}
}

// What decodes and passes the check encodes to what does so again, alike, whoever sent it.
func FuzzAProjectThatIsSoundStaysSo(f *testing.F) {
	for _, pattern := range []string{"testdata/valid/*.yaml", "../configs/*.yaml"} {
		for name, text := range testFiles(f, pattern) {
			c, err := Load("conf/"+filepath.Base(name), text, testOptions())
			if err != nil {
				f.Fatal(err)
			}
			for _, p := range c.Projects {
				text, err := EncodeResource(p, true)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(text)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var p, again Project
		if err := DecodeResource(text, &p); err != nil {
			checkFaults(t, err.(Faults))
			return
		}
		unchecked, err := EncodeResource(&p, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeResource(unchecked, &again); err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("decoded again: %v, got %+v; want %+v", err, again, p)
		}
		if err := CheckProject(&p, &Config{}); err != nil {
			checkFaults(t, err.(Faults))
			return
		}
		checkConfig(t, &Config{Projects: []*Project{&p}})
		sound, err := EncodeResource(&p, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(DecodeResource(sound, &again), CheckProject(&again, &Config{})); err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%v: got %+v; want %+v", err, again, p)
		}
	})
}
