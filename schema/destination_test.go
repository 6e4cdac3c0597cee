package schema

import (
	"errors"
	"strings"
	"testing"
)

func TestDestinationsThatAreAccepted(t *testing.T) {
	sip := func(user, host string, port uint16, slash bool) Destination {
		return Destination{Kind: KindSIP, User: user, Host: host, Port: port, Slash: slash}
	}
	number := func(digits string) Destination { return Destination{Kind: KindNumber, User: digits} }
	for _, c := range []struct {
		name, text, region string
		want               Destination
		prints             string
	}{
		{"a number of Ukraine", "380441112233", "", number("380441112233"), "380441112233"},
		{"a number of Kazakhstan", "77271234567", "", number("77271234567"), "77271234567"},
		{"a plus is dropped", "+380441112233", "", number("380441112233"), "380441112233"},
		{"blanks around are dropped", " \t380441112233\r\n", "", number("380441112233"), "380441112233"},
		{"seven digits", "1234567", "", number("1234567"), "1234567"},
		{"fifteen digits", "123456789012345", "", number("123456789012345"), "123456789012345"},
		{"a national number of a known country", "0441112233", "UA", number("380441112233"), "380441112233"},
		{"a national number as people write it", "(044) 111-22-33", "UA", number("380441112233"), "380441112233"},
		{"an international number in a known country", "380441112233", "UA", number("380441112233"), "380441112233"},
		{"sip with a slash", "sip/user@host", "", sip("user", "host", 0, true), "sip/user@host"},
		{"sip with a colon", "sip:user@pbx.example", "", sip("user", "pbx.example", 0, false), "sip:user@pbx.example"},
		{"sip with a port", "sip:user@pbx.example:5061", "", sip("user", "pbx.example", 5061, false), "sip:user@pbx.example:5061"},
		{"sip at an IPv4 address", "sip:100@192.0.2.1", "", sip("100", "192.0.2.1", 0, false), "sip:100@192.0.2.1"},
		{"sip at a name of digits and letters", "sip:100@1a2b.3com", "", sip("100", "1a2b.3com", 0, false), "sip:100@1a2b.3com"},
		{"sip at an IPv6 address", "sip:100@[2001:db8::1]", "", sip("100", "[2001:db8::1]", 0, false), "sip:100@[2001:db8::1]"},
		{"sip at an IPv6 address with a port", "sip:100@[2001:db8::1]:5060", "", sip("100", "[2001:db8::1]", 5060, false), "sip:100@[2001:db8::1]:5060"},
		{"sip with a slash at an IPv6 address", "sip/100@[::1]", "", sip("100", "[::1]", 0, true), "sip/100@[::1]"},
		{"a user with what telephones send", "sip:+38*0#1.a_b-c@h", "", sip("+38*0#1.a_b-c", "h", 0, false), "sip:+38*0#1.a_b-c@h"},
		{"a login", "ops", "", Destination{Kind: KindLogin, User: "ops"}, "ops"},
		{"a login with a dot", "ivan.p_1-a", "", Destination{Kind: KindLogin, User: "ivan.p_1-a"}, "ivan.p_1-a"},
		{"an extension is a login", "101", "", Destination{Kind: KindLogin, User: "101"}, "101"},
		{"a login in a known country", "ops", "UA", Destination{Kind: KindLogin, User: "ops"}, "ops"},
		{"a login of 64 characters", strings.Repeat("a", 64), "", Destination{Kind: KindLogin, User: strings.Repeat("a", 64)}, strings.Repeat("a", 64)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseDestination(c.text, c.region)
			if err != nil || got != c.want {
				t.Fatalf("got %+v, %v; want %+v", got, err, c.want)
			}
			if got.String() != c.prints {
				t.Errorf("prints %q; want %q", got.String(), c.prints)
			}
		})
	}
}

func TestDestinationsThatAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                         "",
		"blanks":                          " \t\r\n",
		"a second channel for Asterisk":   "380441111111&SIP/evil",
		"a function of the dialplan":      "${SYSTEM(x)}",
		"a comma":                         "380441111111,380441111112",
		"a line break within":             "380441111111\r\nX-Evil: 1",
		"a line break at an address":      "sip:a@b\r\nX-Evil: 1",
		"a zero byte":                     "380441111111\x00",
		"a zero byte in a login":          "ops\x00",
		"a double quote":                  `"380441111111"`,
		"a single quote":                  "ops'",
		"a number of a megabyte":          strings.Repeat("3", 1<<20),
		"a login of 65 characters":        strings.Repeat("a", 65),
		"sixteen digits":                  "1234567890123456",
		"a national number":               "0441112233",
		"Arabic-Indic digits":             "٣٨٠٤٤١١١٢٢٣٣",
		"full-width digits":               "３８０４４１１１２２３３",
		"a Cyrillic login":                "оператор",
		"URI parameters":                  "sip:a@b;x=1?h=v",
		"URI headers":                     "sip:a@b?Replaces=x",
		"a password":                      "sip:a:b@c",
		"two at signs":                    "sip:a@b@c",
		"an address without a user":       "sip:@b",
		"an address without a host":       "sip:a@",
		"an address without an at sign":   "sip:ab",
		"a scheme alone":                  "sip:",
		"another scheme":                  "tel:+380441112233",
		"a scheme in capitals":            "SIP:a@b",
		"a secure scheme":                 "sips:a@b",
		"port 0":                          "sip:a@b:0",
		"port 65536":                      "sip:a@b:65536",
		"a port with a zero before it":    "sip:a@b:05060",
		"a port with a sign":              "sip:a@b:+5060",
		"no port after a colon":           "sip:a@b:",
		"a port after a slash":            "sip/a@b:5060",
		"a host that begins with a dash":  "sip:a@-b",
		"a host that ends with a dash":    "sip:a@b-",
		"a host with an empty label":      "sip:a@b..c",
		"a host with a dot at its end":    "sip:a@b.",
		"a host with a label of 64":       "sip:a@" + strings.Repeat("b", 64),
		"a host of 254 characters":        "sip:a@" + strings.Repeat("b.", 127),
		"a host with an underscore":       "sip:a@b_c",
		"an IPv6 address without end":     "sip:a@[::1",
		"an IPv6 address with a zone":     "sip:a@[fe80::1%eth0]",
		"an IPv4 address in brackets":     "sip:a@[192.0.2.1]",
		"an IPv6 address without bracket": "sip:a@::1",
		"text after an IPv6 address":      "sip:a@[::1]x",
		"an IPv4 address as one number":   "sip:a@3232235777",
		"an IPv4 address in hexadecimal":  "sip:a@0xC0A80101",
		"an IPv4 address of three parts":  "sip:a@192.168.257",
		"an IPv4 address in octal":        "sip:a@192.168.01.01",
		"an IPv4 address beyond 255":      "sip:a@192.168.1.256",
		"a name that ends in a number":    "sip:a@pbx.0x1f",
		"a login that begins with a dash": "-ops",
		"a login that begins with a dot":  ".ops",
		"a path":                          "PJSIP/100",
		"a plus alone":                    "+",
		"two pluses":                      "++380441112233",
		"a blank within":                  "380 441112233",
		"a context":                       "ops@default",
		"an HTML page":                    "<html>",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseDestination(text, ""); err == nil {
				t.Errorf("got %+v; want an error", got)
			}
		})
	}
}

func TestCallersCanTellNothingFromANationalNumber(t *testing.T) {
	if _, err := ParseDestination(" ", ""); !errors.Is(err, ErrEmptyDestination) {
		t.Errorf("blanks: got %v", err)
	}
	if _, err := ParseDestination("0441112233", ""); !errors.Is(err, ErrNationalNumber) {
		t.Errorf("a national number: got %v", err)
	}
}

func TestTheSameDestinationIsKnownHoweverItIsWritten(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"380441112233", "+380441112233", true},
		{"sip:ops@pbx.example", "sip/ops@PBX.example", true},
		{"sip:ops@pbx.example", "sip:Ops@pbx.example", false},
		{"sip:ops@pbx.example", "sip:ops@pbx.example:5061", false},
		{"ops", "sip:ops@pbx.example", false},
	} {
		a, errA := ParseDestination(c.a, "")
		b, errB := ParseDestination(c.b, "")
		if errA != nil || errB != nil || a.Same(b) != c.want || b.Same(a) != c.want {
			t.Errorf("%s and %s: want same %v (%v, %v)", c.a, c.b, c.want, errA, errB)
		}
	}
}

func TestDigits(t *testing.T) {
	for text, want := range map[string]string{"+380441112233": "380441112233", "380441112233": "380441112233", "": "", "+": "", "101": "", "0441112233": "", "38044x": ""} {
		if got := Digits(text); got != want {
			t.Errorf("%q: got %q; want %q", text, got, want)
		}
	}
}

func TestReadingADestinationDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, MaxDestinationLength)
	for _, text := range []string{"+380441112233", "sip:user@pbx.example:5061", "sip/user@192.0.2.1", "ops"} {
		n := testing.AllocsPerRun(100, func() {
			d, err := ParseDestination(text, "")
			if err != nil || len(d.AppendText(buf)) == 0 {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations; want 0", text, n)
		}
	}
}

// What is accepted prints back to itself but for blanks around it and a number's "+", holds only the
// bytes of the grammar, and reads back as it was. Without a region, as one rewrites national numbers.
func FuzzParseDestination(f *testing.F) {
	for _, s := range []string{
		"380441112233", "+380441112233", " 77271234567\n", "sip/user@host", "sip:user@[2001:db8::1]:5061", "ops", "101",
		"380441111111&SIP/evil", "${SYSTEM(x)}", "a\r\nb", "ops\x00", `"a"`, "sip:a@b;x=1?h=v", "٣٨٠٤٤١١١٢٢٣٣", "0441112233", "sip:a@b:0",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDestination(text, "")
		if err != nil {
			if d != (Destination{}) {
				t.Errorf("%q: refused, and yet %+v", text, d)
			}
			return
		}
		want := strings.Trim(text, " \t\r\n")
		if d.Kind == KindNumber {
			want = strings.TrimPrefix(want, "+")
		}
		printed := d.String()
		if printed != want {
			t.Errorf("%q prints as %q; want %q", text, printed, want)
		}
		allowed := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
		switch d.Kind {
		case KindNumber:
			allowed = "0123456789"
		case KindSIP:
			allowed += "/:@+*#[]"
		}
		if strings.Trim(printed, allowed) != "" || strings.IndexFunc(printed, func(r rune) bool { return !strings.ContainsRune(allowed, r) }) >= 0 {
			t.Errorf("%q holds more than %q", printed, allowed)
		}
		if again, err := ParseDestination(printed, ""); err != nil || again != d {
			t.Errorf("%q reads back as %+v, %v; want %+v", printed, again, err, d)
		}
	})
}
