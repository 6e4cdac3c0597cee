package hookclient

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

func TestRelaxedJSONBecomesStrictJSON(t *testing.T) {
	for _, c := range []struct{ name, relaxed, strict string }{
		{"the documented form", `{ dst_phone: '380441111111,380441111112' }`, `{"dst_phone":"380441111111,380441111112"}`},
		{"strict JSON stays", `{"a":[1,-0.5e+3,true,false,null,{"b":{}}],"c":[]}`, `{"a":[1,-0.5e+3,true,false,null,{"b":{}}],"c":[]}`},
		{"bare keys", `{a:1,_b:2,$c:3,d4:4,null:5}`, `{"a":1,"_b":2,"$c":3,"d4":4,"null":5}`},
		{"a key in single quotes", `{'a b':1}`, `{"a b":1}`},
		{"double quotes within single ones", `{a:'say "hi"'}`, `{"a":"say \"hi\""}`},
		{"single quotes within double ones", `{a:"it's"}`, `{"a":"it's"}`},
		{"an escaped single quote", `{a:'it\'s',b:"it\'s"}`, `{"a":"it's","b":"it's"}`},
		{"the escapes of JSON", `{a:'\"\\\/\b\f\n\r\t\u04Af'}`, `{"a":"\"\\\/\b\f\n\r\t\u04Af"}`},
		{"a comma after the last member", `{a:[1,2,],b:{c:1,},}`, `{"a":[1,2],"b":{"c":1}}`},
		{"comments wherever blanks may be", "// one\n{/*2*/a/**/:/* // */1//3\r,/***/b:2/*\n*/}//", `{"a":1,"b":2}`},
		{"no comment within a string", `{a:'http://b/*c*/'}`, `{"a":"http://b/*c*/"}`},
		{"a plus before a number", `{a:+380441111111,b:[+0.5]}`, `{"a":380441111111,"b":[0.5]}`},
		{"blanks of every kind", " \t\r\n{ \t\r\na \t\r\n: \t\r\n1 \t\r\n} \t\r\n", `{"a":1}`},
		{"Cyrillic text", `{имя: 1}`, ``},
		{"Cyrillic text in quotes", `{'имя': 'Олег'}`, `{"имя":"Олег"}`},
		{"sixty-four levels", `{a:` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`, `{"a":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := appendStrict([]byte("before "), []byte(c.relaxed))
			if c.strict == "" {
				if err == nil {
					t.Errorf("%s became %s", c.relaxed, got)
				}
				return
			}
			if want := "before " + c.strict; err != nil || string(got) != want {
				t.Errorf("%s\ngot  %s, %v\nwant %s", c.relaxed, got, err, want)
			}
		})
	}
}

func TestWhatIsNotRelaxedJSONIsRefusedInWords(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", ``, `it ends at byte 0; want an object, {…}`},
		{"a number alone", `380441111111`, `found "380441111111" at byte 0; want an object, {…}`},
		{"an array alone", `[1]`, `found "[1]" at byte 0; want an object, {…}`},
		{"a page", `<!DOCTYPE html>`, `found "<!DOCTYPE html>" at byte 0; want an object, {…}`},
		{"a page after the object", `{a:1}<br />`, `found "<br />" at byte 5; want nothing after the object`},
		{"a second object", `{a:1}{a:2}`, `found "{a:2}" at byte 5; want nothing after the object`},
		{"a semicolon", `{a:1};`, `found ";" at byte 5; want nothing after the object`},
		{"a string cut short", `{dst_phone: '3804411`, `found "'3804411" at byte 12; want a string with an end`},
		{"a number cut short", `{dst_phone: 3804411`, `it ends at byte 19; want a comma or }`},
		{"an escape cut short", `{a:'\`, `found "\\" at byte 4; want one of the escapes \" \' \\ \/ \b \f \n \r \t \uXXXX`},
		{"an object without its end", `{a:[1]`, `it ends at byte 6; want a comma or }`},
		{"brackets that cross", `{a:[1}]`, `found "}]" at byte 5; want a comma or ]`},
		{"an end too many", `{a:1}}`, `found "}" at byte 5; want nothing after the object`},
		{"a comment without its end", `{a:1 /* and`, `found "/* and" at byte 5; want a comma or }`},
		{"a comment without its end after the object", `{a:1} /*`, `found "/*" at byte 6; want nothing after the object`},
		{"a line comment that hides the end", `{a:1 // }`, `it ends at byte 9; want a comma or }`},
		{"smart quotes", `{dst_phone: “380441111111”}`, `found "“380441111111”}" at byte 12; want a value: a string in plain quotes, a number, true, false, null, […] or {…}`},
		{"smart quotes around a key", `{“dst_phone”: 1}`, `found "“dst_phone”: 1}" at byte 1; want a key, in plain quotes or of letters, digits, _ and $`},
		{"a hexadecimal number", `{a:0x1F}`, `found "0x1F}" at byte 3; want a decimal number, or quotes around it`},
		{"a leading zero", `{a:0443334455}`, `found "0443334455}" at byte 3; want quotes around a number that begins with 0, which some would read as octal`},
		{"a leading zero behind a sign", `{a:+0443334455}`, `found "+0443334455}" at byte 3; want quotes around a number that begins with 0, which some would read as octal`},
		{"NaN", `{a:NaN}`, `found "NaN}" at byte 3; want a value: a string in plain quotes, a number, true, false, null, […] or {…}`},
		{"-Infinity", `{a:-Infinity}`, `found "-Infinity}" at byte 3; want a decimal number, or quotes around it`},
		{"undefined", `{a:undefined}`, `found "undefined}" at byte 3; want a value: a string in plain quotes, a number, true, false, null, […] or {…}`},
		{"a value without quotes", `{a:sip/user@host}`, `found "sip/user@host}" at byte 3; want a value: a string in plain quotes, a number, true, false, null, […] or {…}`},
		{"a number with dashes", `{a:380-44-111}`, `found "380-44-111}" at byte 3; want a decimal number, or quotes around it`},
		{"two numbers with a blank", `{a:380 44}`, `found "44}" at byte 7; want a comma or }`},
		{"two numbers with a comment", `{a:380/**/44}`, `found "44}" at byte 10; want a comma or }`},
		{"a point without digits", `{a:5.}`, `found "5.}" at byte 3; want a decimal number, or quotes around it`},
		{"two signs", `{a:+-5}`, `found "+-5}" at byte 3; want a decimal number, or quotes around it`},
		{"a sign before a string", `{a:+"5"}`, "found `+\"5\"}` at byte 3; want a decimal number, or quotes around it"},
		{"a sign alone", `{a:+}`, `found "+}" at byte 3; want a decimal number, or quotes around it`},
		{"two commas", `{a:1,,b:2}`, `found ",b:2}" at byte 5; want a key, in plain quotes or of letters, digits, _ and $`},
		{"a comma alone", `{a:[,]}`, `found ",]}" at byte 4; want a value: a string in plain quotes, a number, true, false, null, […] or {…}`},
		{"no value", `{a:}`, `found "}" at byte 3; want a value: a string in plain quotes, a number, true, false, null, […] or {…}`},
		{"no colon", `{a 1}`, `found "1}" at byte 3; want a colon after the key`},
		{"a PHP arrow", `{a => 1}`, `found "=> 1}" at byte 3; want a colon after the key`},
		{"a key that begins with a digit", `{1a:1}`, `found "1a:1}" at byte 1; want a key, in plain quotes or of letters, digits, _ and $`},
		{"a line end in a string", "{a:'1\n2'}", `found "\n2'}" at byte 5; want no control character in a string, unless escaped`},
		{"a NUL", "{a:1 \x00}", `found "\x00}" at byte 5; want a comma or }`},
		{"a NUL in a number", "{a:1\x00}", `found "1\x00}" at byte 3; want a decimal number, or quotes around it`},
		{"an escape of JavaScript's", `{a:'\x31'}`, `found "\\x31'}" at byte 4; want one of the escapes \" \' \\ \/ \b \f \n \r \t \uXXXX`},
		{"an escape with a sign in it", `{a:'\u+123'}`, `found "\\u+123'}" at byte 4; want one of the escapes \" \' \\ \/ \b \f \n \r \t \uXXXX`},
		{"sixty-five levels", `{a:` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, `found "[` + strings.Repeat("]", 39) + `"… at byte 66; want at most 64 levels of nesting`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := appendStrict(nil, []byte(c.text))
			if err == nil || got != nil || err.Error() != c.want {
				t.Errorf("%s\ngot  %s, %v\nwant %s", c.text, got, err, c.want)
			}
		})
	}
}

func TestNoPrefixOfADocumentIsAccepted(t *testing.T) {
	for _, doc := range []string{
		`{dst_phone: '380441111111'}`, `{"dst_phone":380441111111}`, `{ dst_phone: [380441111111, +380441111112,], /* a */ b: {c: null} }`,
	} {
		for n := range len(doc) {
			if got, err := appendStrict(nil, []byte(doc[:n])); err == nil {
				t.Errorf("%s became %s", doc[:n], got)
			}
		}
	}
}

func FuzzRelaxed(f *testing.F) {
	for _, kind := range []string{"valid", "invalid"} {
		for _, body := range corpus(f, kind) {
			f.Add([]byte(body))
		}
	}
	f.Add([]byte("// one\n{/*2*/a/**/:/* // */1//3\r,/***/b:2/*\n*/,'c\\'\\\"':\"\\u04AF\",}//"))
	f.Fuzz(func(t *testing.T, text []byte) {
		strict, err := appendStrict(nil, text)
		if err != nil {
			if top := bytes.TrimLeft(text, blanks); json.Valid(text) && top[0] == '{' && !strings.Contains(err.Error(), "levels of nesting") {
				t.Fatalf("strict JSON %q was refused: %v", text, err)
			}
			return
		}
		if !gjson.ValidBytes(strict) || !json.Valid(strict) {
			t.Fatalf("%q became %q, which is not JSON", text, strict)
		}
		meaning := decoded(t, strict)
		if json.Valid(text) && !reflect.DeepEqual(decoded(t, text), meaning) {
			t.Fatalf("strict JSON %q became %q", text, strict)
		}
		if len(text) > 2000 {
			return
		}
		// What is left of a text cut short is refused, or means the same (a comment was cut off).
		for n := range text {
			if part, err := appendStrict(nil, text[:n]); err == nil && !reflect.DeepEqual(decoded(t, part), meaning) {
				t.Fatalf("%q cut to %q became %q", text, text[:n], part)
			}
		}
	})
}

func decoded(t *testing.T, doc []byte) any {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", doc, err)
	}
	return v
}
