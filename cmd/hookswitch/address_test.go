package main

import (
	"testing"

	"hookswitch/schema"
)

func TestAPBXIsShownAnAddressThatItCanAsk(t *testing.T) {
	for _, tc := range []struct{ name, listen, public, want string }{
		{"a listener of this machine", "127.0.0.1:8077", "", "http://127.0.0.1:8077"},
		{"one of another address", "192.0.2.7:9000", "", "http://192.0.2.7:9000"},
		{"one of every address", ":9000", "", "http://127.0.0.1:9000"},
		{"one of every IPv6 address", "[::]:9000", "", "http://127.0.0.1:9000"},
		{"behind a proxy", "127.0.0.1:8077", "https://pbx.example/", "https://pbx.example"},
	} {
		s := &service{}
		s.running.Store(&schema.Config{Listen: tc.listen, Intake: schema.Intake{PublicURL: tc.public}})
		if got := s.address(); got != tc.want {
			t.Errorf("%s: found %s; want %s", tc.name, got, tc.want)
		}
	}
}
