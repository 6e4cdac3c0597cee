package router

import (
	"strings"
	"testing"

	"hookswitch/schema"
)

// denying returns a policy that lets nothing but the prefixes be denied.
func denying(region string, prefixes ...string) policy {
	return newPolicy(&schema.Destinations{Allow: []string{"380", "sip:*@pbx.example", "login:*"}, Deny: prefixes, Max: 10, Region: region})
}

func allowsText(t testing.TB, p *policy, text string) bool {
	t.Helper()
	d, err := schema.ParseDestination(text, "")
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p.allows(&d)
}

func TestADeniedNumberIsDeniedBehindAServiceCode(t *testing.T) {
	p := denying("", "380900")
	for _, user := range []string{
		"#31#380900211222", "*31#380900211222", "*31*380900211222", "*67380900211222", "*67*380900211222", "*1810380900211222",
		"**21*380900211222#", "**21*380900211222*11*20#", "#31#**21*380900211222*11*20#", "*0*00380900211222", "#31#+380900211222",
		"*67+380900211222", "*12345+380900211222", "#31#00380900211222", "*6700380900211222", "#31#011380900211222",
		"#31#810380900211222", "*67810380900211222", "#31#380.900.211.222", "*67380-900-211-222", "#31#0011-380-900-211222",
		"380900#000000", "380900#0", "3809*00211222", "3*8*0*9*0*0*211222", "#31#380900211222333444", "***380900211222", "+*380900211222",
		"#*#*#380900211222", "*31*67380900211222", "380441111111*380900211222", "380900211222#a", "a*380900211222", "*31*a*380900211222",
		strings.Repeat("#", 52) + "380900211222", "*6-7380900211222", "1*2*3*4*5*6*7",
	} {
		if allowsText(t, &p, "sip:"+user+"@pbx.example") || allowsText(t, &p, "sip/"+user+"@pbx.example") {
			t.Errorf("%s is allowed", user)
		}
	}
}

func TestADeniedNumberIsDeniedAsANationalOneBehindAServiceCode(t *testing.T) {
	for _, c := range []struct{ region, denied, user string }{
		{"UA", "380900", "#31#0900211222"}, {"UA", "380900", "#31#0900111222"}, {"UA", "380900", "*670900211222"}, {"UA", "380900", "*18100900211222"},
		{"UA", "380900", "#31#0-900-211-222"}, {"UA", "380900", "0900211222#"}, {"UA", "380900", "0900211222#000"}, {"UA", "380900", "0900#211222"},
		{"UA", "380900", "#31#090*021*1222#"}, {"UA", "380900", "#31#380900211222"}, {"UA", "380900", "*67900211222"},
		{"RU", "7900", "#31#89005551234"}, {"RU", "7900", "*6789005551234"}, {"US", "1900", "*679005551234"}, {"US", "1900", "*67*19005551234"},
		{"JP", "380900", "#31#010380900211222"}, {"ES", "34803", "#31#803123456"}, {"AD", "376712", "#31#712345"}, {"IT", "39899", "*31*899123456"},
	} {
		p := denying(c.region, c.denied)
		if allowsText(t, &p, "sip:"+c.user+"@pbx.example") {
			t.Errorf("%s is allowed in %s, where %s is denied", c.user, c.region, c.denied)
		}
	}
}

func TestANationalNumberIsDeniedThatNobodyHasWithoutExtensionsBeingSo(t *testing.T) {
	for _, c := range []struct {
		region, denied, user string
		allowed              bool
	}{
		{"UA", "380900", "0900211222", false}, {"UA", "380900", "0900111222", false}, {"UA", "380900", "0-900-111-222", false},
		{"UA", "380900", "0900111222333", false}, {"UA", "380900", "0900111222333444555666", false},
		{"RU", "7900", "89005551234", false}, {"US", "1900", "9005551234", false}, {"ES", "34803", "803123456", false}, {"DE", "49900", "0900123", false},
		{"DE", "4930", "30-7938678", false}, {"DE", "4930", "030+38_19#", false}, {"DE", "4930", "307938678", true},
		{"UA", "380900", "0441111111", true}, {"UA", "380900", "900211222", true}, {"UA", "380101", "101", true}, {"UA", "380900", "9001", true},
		{"UA", "380900", "900111", true}, {"UA", "380900", "0900", true}, {"UA", "380900", "090011", true}, {"UA", "380900", "0900111", true},
		{"UA", "380900", "9001112223334445", true}, {"DE", "491010", "1010", true}, {"US", "1900", "9001234", true}, {"US", "1900", "90055512345", true},
		{"ES", "34803", "803123456789", true}, {"UA", "380900", "a0900211222", true}, {"", "380900", "0900211222", true},
	} {
		p := denying(c.region, c.denied)
		if got := allowsText(t, &p, "sip:"+c.user+"@pbx.example"); got != c.allowed {
			t.Errorf("%s in %s, where %s is denied: allowed %v, want %v", c.user, c.region, c.denied, got, c.allowed)
		}
	}
}

func TestWhatIsNoDeniedNumberIsDialledWithItsServiceCode(t *testing.T) {
	for _, region := range []string{"", "UA"} {
		p := denying(region, "380900", "881")
		for _, text := range []string{
			"sip:#31#380441111111@pbx.example", "sip:*67380441111111@pbx.example", "sip:**21*380441111111*11*20#@pbx.example",
			"sip:*98@pbx.example", "sip:*8*101@pbx.example", "sip:101#@pbx.example", "sip:*98*380900@pbx.example", "sip:***@pbx.example",
			"sip:ops@pbx.example", "sip:ops*1@pbx.example", "sip:a380900211222#@pbx.example", "sip:#31#380900211222a@pbx.example",
			// an outside line's digit is the PBX's affair
			"sip:0380900211222@pbx.example", "sip:9380900211222@pbx.example", "0-380900211222",
		} {
			if !allowsText(t, &p, text) {
				t.Errorf("%s is denied with region %q", text, region)
			}
		}
	}
}

func TestAnOutsideLinesDigitIsDeniedByAPattern(t *testing.T) {
	p := denying("", "380900", "sip:9*@pbx.example", "sip:*380900*@pbx.example")
	for _, user := range []string{"9380900211222", "9101", "0380900211222", "ops380900211222"} {
		if allowsText(t, &p, "sip:"+user+"@pbx.example") {
			t.Errorf("%s is allowed", user)
		}
	}
}

func TestASIPUserThatIsTheNumberCalledIsNoLoop(t *testing.T) {
	p := denying("", "380900")
	list := []schema.Destination{{Kind: schema.KindSIP, User: "380442223344", Host: "pbx.example"}}
	if kept, reason, _ := p.check(list, "380442223344", "json", new([]string)); len(kept) != 1 || reason != schema.ReasonOK {
		t.Errorf("%d kept, %s", len(kept), reason)
	}
}

func TestALoginThatSpellsADeniedNumberIsDenied(t *testing.T) {
	p := denying("UA", "380900")
	for _, login := range []string{"380-900-211222", "380.900.211222", "380_900_211222", "00-380900211222", "0900-211-222", "0900.111.222"} {
		if d := (schema.Destination{Kind: schema.KindLogin, User: login}); p.allows(&d) {
			t.Errorf("%s is allowed", login)
		}
	}
	for _, login := range []string{"101", "ops", "ops-380900211222", "0380900"} {
		if d := (schema.Destination{Kind: schema.KindLogin, User: login}); !p.allows(&d) {
			t.Errorf("%s is denied", login)
		}
	}
}

func TestComparingASIPUserWithWhatIsDeniedAllocatesNothing(t *testing.T) {
	p := denying("", "380900", "881")
	for _, user := range []string{"101", "380441111111", "+380441111111", "ops"} {
		stageAllocates(t, user, func() {
			if p.deniesAsNumber(user) {
				t.Fatal(user)
			}
		})
	}
}

// Whatever code is dialled before a denied number, and whatever behind it, it stays denied.
func FuzzADeniedNumberBehindCodes(f *testing.F) {
	for _, s := range [][2]string{{"#31#", ""}, {"*67", "#"}, {"**21*", "*11*20#"}, {"#31#+", ""}, {"*0*00", "#000"}, {"380441111111*", "a"}, {"a*", "*1"}} {
		f.Add(s[0], s[1])
	}
	policies := []policy{denying("", "380900"), denying("UA", "380900")}
	f.Fuzz(func(t *testing.T, before, after string) {
		code := strings.TrimRight(before, "0123456789")
		if code == before && !strings.HasSuffix(before, "*") && !strings.HasSuffix(before, "#") || len(before)-len(code) > maxCode {
			return
		}
		if code != "" && !strings.ContainsAny(code[len(code)-1:], "*#") || code == "" && before != "" || after != "" && !strings.ContainsAny(after[:1], "*#") {
			return
		}
		for _, number := range []string{"380900211222", "00380900211222", "+380900211222", "380-900.211222"} {
			d, err := schema.ParseDestination("sip:"+before+number+after+"@pbx.example", "")
			if err != nil {
				return
			}
			for i := range policies {
				if policies[i].allows(&d) {
					t.Errorf("%s is allowed with region %q", d, policies[i].region)
				}
			}
		}
	})
}

func BenchmarkASIPUserOfManyCodes(b *testing.B) {
	p := denying("UA", "380900")
	user := strings.Repeat("044111111*", 6)
	b.ReportAllocs()
	for b.Loop() {
		if p.deniesAsNumber(user) {
			b.Fatal(user)
		}
	}
}
