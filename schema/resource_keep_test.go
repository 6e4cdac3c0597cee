package schema

import "testing"

// Whoever may change a hook, but not read its secrets, could have them sent to a host of one's own.
func TestASecretIsNotKeptForAnotherPlace(t *testing.T) {
	const url = "https://crm.example/route?x={{caller}}"
	for name, tc := range map[string]struct {
		url, fallback, probe string
		kept                 bool
	}{
		"the same":                       {url: url, kept: true},
		"another path":                   {url: "https://crm.example/other#f", kept: true},
		"other case, and the usual port": {url: "HTTPS://CRM.example:443", kept: true},
		"the other one as the fallback":  {url: url, fallback: "https://b.example:8443/", probe: "https://crm.example/up", kept: true},
		"the two changed about":          {url: "https://b.example:8443/x", fallback: url, kept: true},
		"another host":                   {url: "https://evil.example/route"},
		"another port":                   {url: "https://crm.example:444/route"},
		"another scheme":                 {url: "http://crm.example/route"},
		"a host that begins like it":     {url: "https://crm.example.evil.example/route"},
		"a user before another host":     {url: "https://crm.example@evil.example/route"},
		"another fallback":               {url: url, fallback: "https://evil.example/"},
		"another probe":                  {url: url, probe: "https://evil.example/"},
	} {
		was := Hook{ID: "crm", URL: url, FallbackURL: "https://b.example:8443/", Sign: NewSecret("s"), Headers: map[string]Secret{"X-Key": NewSecret("k")}}
		now := Hook{ID: "crm", URL: tc.url, FallbackURL: tc.fallback, Breaker: Breaker{ProbeURL: tc.probe}, Sign: NewSecret("***"), Headers: map[string]Secret{"X-Key": NewSecret("***")}}
		from, into := Project{Hooks: []Hook{was}}, Project{Hooks: []Hook{now}}
		KeepSecrets(&from, &into)
		h := into.Hooks[0]
		if kept := h.Sign.Reveal() == "s" && h.Headers["X-Key"].Reveal() == "k"; kept != tc.kept || !kept && (h.Sign.Reveal() != "***" || h.Headers["X-Key"].Reveal() != "***") {
			t.Errorf("%s: got %q and %q; want them kept: %t", name, h.Sign.Reveal(), h.Headers["X-Key"].Reveal(), tc.kept)
		}
	}
	from, into := Webhook{ID: 1, URL: url, Sign: NewSecret("s")}, Webhook{ID: 1, URL: "https://evil.example/", Sign: NewSecret("***")}
	if KeepSecrets(&from, &into); into.Sign.Reveal() != "***" {
		t.Errorf("a webhook that leads elsewhere: got %q", into.Sign.Reveal())
	}
}
