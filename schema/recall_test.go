package schema

import "testing"

func TestACallerHasOneSpelling(t *testing.T) {
	for _, c := range []struct{ text, region, want string }{
		{"380501112233", "", "380501112233"},
		{"+380501112233", "", "380501112233"},
		{"00380501112233", "", "380501112233"},
		{" +380 (50) 111-22-33 ", "", "380501112233"},
		{"0501112233", "UA", "380501112233"},
		{"0501112233", "", "0501112233"},
		{"89999999999", "", "89999999999"},
		{"101", "", "101"},
		{"Operator-7", "", "operator-7"},
		{"operator.7", "", "operator.7"},
		{"", "", ""},
		{"Anonymous", "", ""},
		{"restricted", "", ""},
		{"two words", "", ""},
		{"<b>", "", ""},
	} {
		got := CallerKey(c.text, c.region)
		if got != c.want {
			t.Errorf("%q (%s): got %q; want %q", c.text, c.region, got, c.want)
		}
		if again := CallerKey(got, c.region); again != got {
			t.Errorf("%q became %q, and that %q", c.text, got, again)
		}
	}
}

func FuzzCallerKey(f *testing.F) {
	f.Add("+380 (50) 111-22-33", "UA")
	f.Add("0501112233", "UA")
	f.Add("anonymous", "")
	f.Fuzz(func(t *testing.T, text, region string) {
		key := CallerKey(text, "")
		if again := CallerKey(key, ""); again != key {
			t.Errorf("%q became %q, and that %q", text, key, again)
		}
		if len(key) > 64 || !every(key, isUserByte) {
			t.Errorf("%q became %q, which is no key", text, key)
		}
	})
}
