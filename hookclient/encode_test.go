package hookclient

import (
	"strings"
	"testing"

	"hookswitch/schema"
)

func TestEscapers(t *testing.T) {
	for name, tc := range map[string]struct {
		escape   func([]byte, string) []byte
		in, want string
	}{
		"query: unreserved stands, the rest does not": {appendQuery, "aZ09-._~ +&=/?%й", "aZ09-._~%20%2B%26%3D%2F%3F%25%D0%B9"},
		"path: a climb is left out":                   {appendPath, "..", ""},
		"path: three dots are a name":                 {appendPath, "...", "..."},
		"header: controls are blanks, ends trimmed":   {appendHeader, "\r\n a\tb\x00c\x7f é \n", "a b c  é"},
		"header: nothing but controls":                {appendHeader, "\r\n\t", ""},
		"header text: controls are dropped":           {appendHeaderText, " a\r\nb ", " ab "},
		"header name":                                 {appendHeaderName, "X-A b:é%", "X-A%20b%3A%C3%A9%25"},
		"json":                                        {appendJSON, "\"\\/\b\f\n\r\t\x01<>&é\u2028\xff", "\\\"\\\\/\\u0008\\u000C\\n\\r\\t\\u0001<>&é\u2028\ufffd"},
		"json: a number alone":                        {appendJSONValue, "-1.5e3", "-1.5e3"},
		"json: a number no JSON allows":               {appendJSONValue, "0441112233", `"0441112233"`},
		"json: a string is never taken as quoted":     {appendJSONValue, `"x"`, `"\"x\""`},
		"json: two values are a string":               {appendJSONValue, `1,"a":2`, `"1,\"a\":2"`},
		"json: nothing":                               {appendJSONValue, "", "null"},
		"xml":                                         {appendXML, "<&>\"'\t\n\r\x00\x1f\ufffe\xffé\ufffd]]>", "&lt;&amp;&gt;&#34;&#39;&#x9;&#xA;&#xD;é\ufffd]]&gt;"},
		"xml name":                                    {appendXMLName, "місто a:b", "місто_a_b"},
		"xml name that begins with a digit":           {appendXMLName, "1st", "_1st"},
		"xml name of nothing":                         {appendXMLName, "", "_"},
		"xml name in a script of another edition":     {appendXMLName, "名x", "_x"},
		"raw": {appendRaw, "\x00\"", "\x00\""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(tc.escape([]byte("> "), tc.in)); got != "> "+tc.want {
				t.Errorf("%q became %q; want %q", tc.in, got, "> "+tc.want)
			}
		})
	}
}

// The digests of "abc", from RFC 1321, FIPS 180-2 and, for CRC-32, PHP's and zlib's crc32.
func TestHashes(t *testing.T) {
	for name, want := range map[string]string{
		"":       "abc",
		"md5":    "900150983cd24fb0d6963f7d28e17f72",
		"crc32":  "352441c2",
		"sha1":   "a9993e364706816aba3e25717850c26c9cd0d89d",
		"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	} {
		kind, err := hashNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(kind.appendSum([]byte("x=abc"), 2)); got != "x="+want {
			t.Errorf("%s: %s; want %s", name, got, want)
		}
	}
	if kind, _ := hashNamed("crc32"); string(kind.appendSum(nil, 0)) != "00000000" {
		t.Error("crc32 of nothing is not eight digits")
	}
}

func TestDateLayouts(t *testing.T) {
	for format, want := range map[string]string{
		"":                    "otherwise",
		"2006-01-02":          "2006-01-02",
		"Y-m-d H:i:s":         "2006-01-02 15:04:05",
		`d.m.y \a\t g:i A`:    "02.01.06 at 3:04 PM",
		"D, j M Y H:i:s O":    "Mon, 2 Jan 2006 15:04:05 -0700",
		"unix":                "unix",
		"U":                   "unix",
		"c":                   "2006-01-02T15:04:05-07:00",
		"02.01.2006 at 15:04": "02.01.2006 at 15:04",
	} {
		if got, err := dateLayout(format, "otherwise"); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", format, got, err, want)
		}
	}
}

func TestHashOfAListIsOfEachItem(t *testing.T) {
	c := compiler{style: &jsonStyle}
	fields, err := c.rules([]schema.ParamRule{{Name: "l", List: []string{"caller", "callee"}, Hash: "crc32"}}, "", "params")
	if err != nil {
		t.Fatal(err)
	}
	call := &schema.Call{}
	call.SetString(schema.ParamCaller, "abc")
	f := &filling{call: call}
	p := params{style: &jsonStyle, fields: fields}
	if got, want := string(p.append(nil, f, false)), `"l":["352441c2","00000000"]`; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

func FuzzDateLayout(f *testing.F) {
	for _, s := range []string{"Y-m-d", `\Y`, "2006", "unix", "whenever", "й", `\`} {
		f.Add(s)
	}
	// A layout that is accepted writes a date of one line's length, and is accepted again as itself
	// where it is Go's.
	f.Fuzz(func(t *testing.T, format string) {
		layout, err := dateLayout(format, defaultLayout)
		if err != nil {
			return
		}
		if again, err := dateLayout(layout, defaultLayout); strings.ContainsAny(layout, "0123456789") && (err != nil || again != layout) {
			t.Errorf("%q was read as %q, and that as %q, %v", format, layout, again, err)
		}
		if text := appendDate(nil, requestTime, layout); len(text) > 40*(len(format)+1) {
			t.Errorf("%q writes %d bytes", format, len(text))
		}
	})
}
