package schema

import (
	"net/url"
	"strings"
	"testing"
)

// taggedCall is a call with values of every sort that a tag can reach.
func taggedCall() *Call {
	c := &Call{}
	c.SetString(ParamCaller, "380441112233")
	c.SetString(ParamPool, "сайт")
	c.SetString(ParamCustom, `{"city":"Одеса"}`)
	for name, value := range map[string]string{
		"город":    "Київ",
		"payment":  `{"name":"Іван \"Ж\"","sum":380443334455,"paid":true,"note":null,"items":[{"id":7},{"id":8}]}`,
		"orders":   `[{"name":"first"},{"name":"second"}]`,
		"broken":   `{"name":"x"`,
		"a.b":      "whole name",
		"a":        `{"b":"inside"}`,
		"x-tenant": "acme",
	} {
		c.SetNamed([]byte(name), []byte(value))
	}
	return c
}

func TestTemplateFillsTags(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"empty text stays empty":                               {"", ""},
		"text without tags stays as it is":                     {"just } text { }} here", "just } text { }} here"},
		"a catalogue parameter":                                {"from {{caller}}!", "from 380441112233!"},
		"blanks inside the braces are dropped":                 {"{{ caller\t}}", "380441112233"},
		"tags side by side":                                    {"{{caller}}{{pool}}", "380441112233сайт"},
		"what is not known before the call is as documented":   {"{{duration}}/{{type}}/{{category}}", "0/in/"},
		"a custom parameter, named in Cyrillic":                {"{{город}}", "Київ"},
		"a custom parameter with a dash":                       {"{{x-tenant}}", "acme"},
		"an unknown tag is empty":                              {"<{{nobody}}>", "<>"},
		"inside an object, decoded":                            {"{{payment.name}}", `Іван "Ж"`},
		"a long number is not turned into a float":             {"{{payment.sum}}", "380443334455"},
		"true and null":                                        {"{{payment.paid}}{{payment.note}}", "true"},
		"a list item's field":                                  {"{{orders[1].name}}", "second"},
		"a list item's field deeper in":                        {"{{payment.items[0].id}}", "7"},
		"a whole list is its JSON":                             {"{{payment.items}}", `[{"id":7},{"id":8}]`},
		"inside a catalogue value":                             {"{{custom.city}}", "Одеса"},
		"an index beyond the end is empty":                     {"{{orders[9].name}}", ""},
		"broken JSON is empty, never guessed at":               {"{{broken.name}}", ""},
		"a parameter of the whole name comes before a look in": {"{{a.b}}", "whole name"},
	} {
		t.Run(name, func(t *testing.T) {
			tmpl, err := ParseTemplate(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(tmpl.Append(nil, taggedCall(), nil)); got != tc.want {
				t.Errorf("%q became %q; want %q", tc.text, got, tc.want)
			}
			if tmpl.String() != tc.text {
				t.Errorf("String() = %q; want the text that was read", tmpl.String())
			}
		})
	}
}

func TestTemplateEscapesValuesOnly(t *testing.T) {
	tmpl, err := ParseTemplate("/путь & {{pool}}")
	if err != nil {
		t.Fatal(err)
	}
	got := string(tmpl.Append([]byte("GET "), taggedCall(), func(b []byte, s string) []byte {
		return append(b, url.PathEscape(s)...)
	}))
	if want := "GET /путь & %D1%81%D0%B0%D0%B9%D1%82"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestParseTemplateNamesTheBadTag(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"unclosed":                  {"a {{caller", `unclosed tag "{{caller"`},
		"closed by one brace":       {"a {{caller} b", `unclosed tag "{{caller} b"`},
		"opened twice":              {"{{a {{b}}", `unclosed tag "{{a {{b}}"`},
		"empty":                     {"{{}}", `empty tag "{{}}"`},
		"blank":                     {"{{  }}", `empty tag "{{  }}"`},
		"a blank within the name":   {"{{call er}}", `bad character in name "call er"`},
		"a query of gjson's":        {"{{orders.#.name}}", `bad name "orders.#.name"`},
		"a modifier of gjson's":     {"{{a.@pretty}}", `bad name "a.@pretty"`},
		"two dots":                  {"{{a..b}}", `bad name "a..b"`},
		"a dot at the end":          {"{{a.}}", `bad name "a."`},
		"an index that is none":     {"{{a[x]}}", `bad index in "a[x]"`},
		"an unclosed index":         {"{{a[0}}", `bad index in "a[0"`},
		"a name after an index":     {"{{a[0]b}}", `bad character in name "a[0]b"`},
		"a dollar, as shells write": {"{{${x}}}", `bad name "${x"`},
		"not UTF-8":                 {"{{a\xff}}", `bad character in name "a\xff"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseTemplate(tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ParseTemplate(%q) = %v; want an error with %q", tc.text, err, tc.want)
			}
		})
	}
}

func TestTemplateLiteral(t *testing.T) {
	for text, want := range map[string]bool{"": true, "plain": true, "{ }": true, "{{caller}}": false, "a{{b}}c": false} {
		tmpl, err := ParseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := tmpl.Literal()
		if ok != want || ok && got != text {
			t.Errorf("Literal() of %q = %q, %v", text, got, ok)
		}
	}
}

func TestNamedTagTakesAnyName(t *testing.T) {
	c := &Call{}
	c.SetNamed([]byte("what a name?"), []byte("v"))
	for name, want := range map[string]string{"what a name?": "v", "": "", "a#b.c": ""} {
		tag := NamedTag(name)
		if got := tag.Value(c); got != want {
			t.Errorf("value of %q = %q; want %q", name, got, want)
		}
	}
	tag := NamedTag("E164")
	if p, ok := tag.Param(); !ok || p != ParamE164 {
		t.Errorf("Param() = %v, %v; want the catalogue's E164", p, ok)
	}
}

func TestTemplateAppendDoesNotAllocate(t *testing.T) {
	tmpl, err := ParseTemplate("https://crm.example/{{caller}}/{{pool}}?d={{duration}}&c={{город}}")
	if err != nil {
		t.Fatal(err)
	}
	c, b := taggedCall(), make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { b = tmpl.Append(b[:0], c, nil) }); n != 0 {
		t.Errorf("%v allocations; want none", n)
	}
}

// What is accepted prints back to itself: literals and tags, put together again, are the same
// template.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"", "a{{b}}c", "{{ a.b[0] }}", "{{{a}}}", "{{a}}}}", "{{", "}}{{x}}", "{{город}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tmpl, err := ParseTemplate(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, p := range tmpl.Parts() {
			again.WriteString(p.Literal)
			if p.Tag != nil {
				again.WriteString("{{" + p.Tag.name + "}}")
			}
		}
		second, err := ParseTemplate(again.String())
		if err != nil {
			t.Fatalf("%q was read, its own print %q was not: %v", text, again.String(), err)
		}
		if len(second.Parts()) != len(tmpl.Parts()) {
			t.Fatalf("%q has %d parts, its own print %q has %d", text, len(tmpl.Parts()), again.String(), len(second.Parts()))
		}
		for i, p := range second.Parts() {
			q := tmpl.Parts()[i]
			if p.Literal != q.Literal || (p.Tag == nil) != (q.Tag == nil) || p.Tag != nil && *p.Tag != *q.Tag {
				t.Fatalf("part %d of %q differs in its own print %q", i, text, again.String())
			}
		}
	})
}
