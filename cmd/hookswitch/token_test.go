package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"hookswitch/admin"
	"hookswitch/control"
	"hookswitch/schema"
	"hookswitch/store"
)

const tokenConfig = `
store: bolt:hookswitch.db
admin: {tokens: [{name: ops, token: ops-token-of-the-file, scopes: [read, write]}]}
`

// serveAdmin serves the admin API over a store in a file, and returns its URL and the configuration's
// name.
func serveAdmin(t *testing.T) (url, config string, s store.Store) {
	t.Helper()
	config = filepath.Join(t.TempDir(), "hookswitch.yaml")
	if err := os.WriteFile(config, []byte(tokenConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	s, err = store.Open(t.Context(), "bolt:"+filepath.Join(t.TempDir(), "hookswitch.db"))
	if err != nil {
		t.Fatal(err)
	}
	plane := control.New(control.Options{
		Store: s, Apply: func(*schema.Config) error { return nil }, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(), Now: time.Now,
	})
	server, err := admin.New(admin.Options{Settings: cfg.Admin, Plane: plane, Store: s})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String(), config, s
}

func TestATokenIsMadeListedAndRevokedByCommand(t *testing.T) {
	url, config, s := serveAdmin(t)
	for name, k := range map[string]tokenKeeper{
		"through the API":   tokensByAPI{url, schema.NewSecret("ops-token-of-the-file")},
		"in a shared store": tokensInStore{s},
	} {
		token, err := k.create(t.Context(), admin.NewToken{Name: "ci", Scopes: []string{"read"}})
		if err != nil || len(token) < 43 {
			t.Fatalf("%s: found %q, %v; want a token", name, token, err)
		}
		list, err := k.list(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != "ci" || list[0].Hash != "" {
			t.Fatalf("%s: found %+v, %v; want the token ci", name, list, err)
		}
		if err := k.revoke(t.Context(), list[0].ID); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := k.revoke(t.Context(), list[0].ID); err == nil {
			t.Errorf("%s: revoked twice: found no error", name)
		}
		if _, err := k.create(t.Context(), admin.NewToken{Name: "ci", Scopes: []string{"all"}}); err == nil || !strings.Contains(err.Error(), "scopes[0]") {
			t.Errorf("%s: found %v; want what is wrong with scopes[0]", name, err)
		}
		trail, err := s.Entries(t.Context(), "audit", "", 2)
		if err != nil || len(trail) != 2 || !strings.Contains(string(trail[0].Body), `"delete"`) || !strings.Contains(string(trail[1].Body), list[0].ID+" ci") {
			t.Errorf("%s: found the trail %s, %v; want the token made and revoked", name, trail, err)
		}
	}

	place := tokenPlace{Config: config, Admin: url}
	var made, listed bytes.Buffer
	if err := (&tokenCreateCommand{tokenPlace: place, Name: "night", Scopes: []string{"read"}, Expires: time.Hour}).Run(t.Context(), &made); err != nil {
		t.Fatal(err)
	}
	if err := (&tokenListCommand{place}).Run(t.Context(), &listed); err != nil {
		t.Fatal(err)
	}
	if token := strings.TrimSpace(made.String()); strings.ContainsAny(token, " \n") || !strings.Contains(listed.String(), "night") || strings.Contains(listed.String(), token) {
		t.Errorf("found %q and the list\n%s; want a token alone, and its name listed", made.String(), listed.String())
	}
}
