package schema

import (
	"fmt"
	"strings"
	"testing"
)

const onlyBusy = `"schemas": [{"id": "1", "steps": [{"hangup": "busy"}]}]`

// managed returns a project of the API's, checked.
func managed(t testing.TB, text string) *Project {
	t.Helper()
	p := &Project{}
	if err := DecodeResource([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	if err := CheckProject(p, &Config{DefaultSchema: "a/1"}); err != nil {
		t.Fatal(err)
	}
	return p
}

func fromFile(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Load("a.yaml", []byte(text), LoadOptions{Version: 7})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProjectsOfTheAPIStandBesideThoseOfTheFile(t *testing.T) {
	file := fromFile(t, `
default_schema: file/1
projects:
  - {id: file, numbers: [{number: "380440000001", schema: "1"}, {number: "0443", schema: "1"}], incoming: [{token: 0123456789abcdef, key: phone}], `+onlyBusy+`}`)
	for _, tc := range []struct {
		name  string
		bare  bool // the file has no default_schema
		these []string
		want  string // ids and numbers
		left  string // faults' keys
	}{
		{"alone", false, nil, "file 380440000001 0443", ""},
		{"in the order of their ids", false, []string{`{"id":"z",` + onlyBusy + `}`, `{"id":"b",` + onlyBusy + `}`}, "file 380440000001 0443; b; z", ""},
		{"declared by both", false, []string{`{"id":"file","numbers":[{"number":"7777777","schema":"1"}],` + onlyBusy + `}`}, "file 380440000001 0443", `projects["file"].id`},
		{"a number of the file's", false, []string{`{"id":"b","numbers":[{"number":"443","schema":"1"},{"number":"+380440000001","schema":"1"},{"number":"00443","schema":"1"}],` + onlyBusy + `}`},
			"file 380440000001 0443; b 443 00443", `projects["b"].numbers[1].number`},
		{"a number of two", false, []string{`{"id":"c","numbers":[{"number":"380440000002","schema":"1"}],` + onlyBusy + `}`, `{"id":"b","numbers":[{"number":"380440000002","schema":"1"}],` + onlyBusy + `}`},
			"file 380440000001 0443; b 380440000002; c", `projects["c"].numbers[0].number`},
		{"a link of two", false, []string{`{"id":"b","incoming":[{"token":"0123456789abcdef","key":"phone"},{"id":"x","token":"0123456789abcdef-1","key":"phone"}],` + onlyBusy + `}`},
			"file 380440000001 0443; b /x", `projects["b"].incoming[0]`},
		{"no default any more", true, []string{`{"id":"b",` + onlyBusy + `}`, `{"id":"c","default_schema":"1",` + onlyBusy + `}`}, "file 380440000001 0443; c", `projects["b"].default_schema`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var these []*Project
			for _, text := range tc.these {
				these = append(these, managed(t, text))
			}
			conf := *file
			if tc.bare {
				conf.DefaultSchema = ""
			}
			c, faults := Merge(&conf, these)
			var got, left []string
			for _, p := range c.Projects {
				line := p.ID
				for _, n := range p.Numbers {
					line += " " + n.Number
				}
				for _, in := range p.Incoming {
					if p.ID != "file" {
						line += " /" + in.ID
					}
				}
				got = append(got, line)
			}
			for _, f := range faults {
				left = append(left, f.Key)
			}
			if strings.Join(got, "; ") != tc.want || strings.Join(left, " ") != tc.left {
				t.Errorf("got %q, faults %q\nwant %q, faults %q", got, left, tc.want, tc.left)
			}
			if file.Projects[0] != c.Projects[0] || c.Projects[0].ReadOnly != "a.yaml" || c.Projects[0].Version != 7 {
				t.Errorf("the file's project has been copied, or is %+v", c.Projects[0])
			}
		})
	}
}

func TestAProjectOfTheAPIIsCheckedAsOneOfAFile(t *testing.T) {
	among := fromFile(t, `
projects:
  - {id: other, default_schema: "1", numbers: [{number: "380440000001", schema: "1"}], incoming: [{token: 0123456789abcdef, key: phone}], `+onlyBusy+`}`)
	for _, tc := range []struct{ text, want string }{
		{`{"id":"a","default_schema":"1","numbers":[{"number":"+380440000002","schema":"1"}],` + onlyBusy + `}`, ""},
		{`{"id":"other","default_schema":"1","numbers":[{"number":"380440000001","schema":"1"}],` + onlyBusy + `}`, ""},
		{`{"id":"a",` + onlyBusy + `}`, "default_schema"},
		{`{"id":"a","default_schema":"1","schemas":[{"id":"1","steps":[{"dial":["380440000001","bad number"]}]}]}`, "schemas[0].steps[0].dial[1]"},
		{`{"id":"a","default_schema":"1","schemas":[{"id":"1","steps":[{"hangup":"busy","strategy":"all"}]}]}`, ""}, // which says nothing by now
		{`{"id":"a","default_schema":"1","numbers":[{"number":"380440000001","schema":"1"}],` + onlyBusy + `}`, "numbers[0].number"},
		{`{"id":"a","default_schema":"1","numbers":[{"number":"443","schema":"1"},{"number":"443","schema":"1"}],` + onlyBusy + `}`, "numbers[1].number"},
		{`{"id":"a","default_schema":"1","incoming":[{"token":"0123456789abcdef","key":"phone"}],` + onlyBusy + `}`, "incoming[0].token"},
		{`{"id":"a","default_schema":"1","hooks":[{"id":"h","url":"http://a.example","tls":{"ca":"/etc/passwd"}}],` + onlyBusy + `}`, "hooks[0].tls.ca"},
		{`{"id":"a","default_schema":"1","hooks":[{"id":"h","url":"http://a.example","sign":"***","headers":{"X":"***"}}],` + onlyBusy + `}`, `hooks[0].headers.X hooks[0].sign`},
		{`{"id":"a","name":"***","default_schema":"1","webhooks":[{"url":"http://a.example","event":"before_call"}],` + onlyBusy + `}`, ""},
	} {
		p := &Project{}
		if err := DecodeResource([]byte(tc.text), p); err != nil {
			t.Fatal(err)
		}
		var keys []string
		if err := CheckProject(p, among); err != nil {
			for _, f := range err.(Faults) {
				keys = append(keys, f.Key)
				if f.Found == "" || f.Want == "" || strings.HasPrefix(f.Error(), ":") {
					t.Errorf("%s: got fault %v", tc.text, f)
				}
			}
		}
		if got := strings.Join(keys, " "); got != tc.want {
			t.Errorf("%s: got faults at %q; want %q", tc.text, got, tc.want)
		}
	}
}

func TestAWebhookWithoutAnIDKeepsItsOwnWhereverItStands(t *testing.T) {
	one := managed(t, `{"id":"a","webhooks":[{"url":"http://a.example","event":"create"},{"url":"http://b.example","event":"create"}],`+onlyBusy+`}`)
	two := managed(t, `{"id":"b","webhooks":[{"url":"http://b.example","event":"before_call"}],`+onlyBusy+`}`)
	if a, b := one.Webhooks[1], two.Webhooks[0]; a.ID != b.ID || a.ID < 1 || one.Webhooks[0].ID == a.ID {
		t.Errorf("got ids %d, %d and %d", one.Webhooks[0].ID, a.ID, b.ID)
	}
}

func BenchmarkMergeOf1000Projects100000Numbers(b *testing.B) {
	var these []*Project
	for i := range 1000 {
		var numbers []string
		for j := range 100 {
			numbers = append(numbers, fmt.Sprintf(`{"number":"38044%03d%04d","schema":"1"}`, i, j))
		}
		these = append(these, managed(b, fmt.Sprintf(`{"id":"p%d","numbers":[%s],%s}`, i, strings.Join(numbers, ","), onlyBusy)))
	}
	file := &Config{DefaultSchema: "p1/1"}
	b.ReportAllocs()
	for b.Loop() {
		if c, faults := Merge(file, these); faults != nil || len(c.Projects) != 1000 {
			b.Fatal(faults)
		}
	}
}
