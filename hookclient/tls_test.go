package hookclient

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hookswitch/schema"
)

func TestACertificateThatProvesNothingIsATLSError(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	for _, tc := range []struct {
		name   string
		server func(*tls.Config)
		ca     string
		want   string
	}{
		{"it has expired", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{ours.issue("127.0.0.1", time.Now().Add(-time.Hour))}
		}, ours.file, "expired"},
		{"it is for another host", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{ours.issue("other.example", time.Now().Add(time.Hour))}
		}, ours.file, "127.0.0.1"},
		{"its authority is not the one configured", nil, other.file, "unknown authority"},
		{"its authority is unknown to the system", nil, "", "unknown authority"},
		{"the server speaks only an old version", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, ours.file, "protocol version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			secured := ours.server("127.0.0.1")
			if tc.server != nil {
				tc.server(secured)
			}
			w := newWebhook(t, secured, answersWell)
			a := ask(prepare(t, New(nil), "https://"+w.addr, func(h *schema.Hook) { h.TLS.CA = tc.ca }), patience)
			wantFailure(t, a, schema.ReasonTLSError, tc.want)
			if w.requests() != 0 || w.connections() != 1 {
				t.Errorf("%d requests over %d connections; want none over 1", w.requests(), w.connections())
			}
		})
	}
}

func TestAServerThatDoesNotSpeakTLSIsATLSError(t *testing.T) {
	w := newWebhook(t, nil, answersWell)
	a := ask(prepare(t, New(nil), "https://"+w.addr, nil), patience)
	wantFailure(t, a, schema.ReasonTLSError, "TLS with 127.0.0.1")
}

func TestAHandshakeThatIsCutOffIsTriedAgain(t *testing.T) {
	ca := newAuthority(t)
	secured := ca.server("127.0.0.1")
	var cut atomic.Bool
	secured.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if cut.CompareAndSwap(false, true) {
			reset(hello.Conn)
		}
		return nil, nil
	}
	w := newWebhook(t, secured, answersWell)
	wantOK(t, ask(prepare(t, New(nil), "https://"+w.addr, func(h *schema.Hook) { post(h); h.TLS.CA = ca.file }), patience))
	if w.requests() != 1 {
		t.Errorf("%d requests; want 1", w.requests())
	}
}

func TestAPrivateAuthorityIsTrustedWhereItIsConfigured(t *testing.T) {
	ca := newAuthority(t)
	w := newWebhook(t, ca.server("127.0.0.1"), answersWell)
	wantOK(t, ask(prepare(t, New(nil), "https://"+w.addr, func(h *schema.Hook) { h.TLS.CA = ca.file }), patience))
}

func TestACertificateIsCheckedAgainstTheConfiguredServerName(t *testing.T) {
	ca := newAuthority(t)
	w := newWebhook(t, ca.server("crm.example"), answersWell)
	wantOK(t, ask(prepare(t, New(nil), "https://"+w.addr, func(h *schema.Hook) {
		h.TLS.CA, h.TLS.ServerName = ca.file, "crm.example"
	}), patience))
}

func TestAClientCertificateIsShown(t *testing.T) {
	ca := newAuthority(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			secured := ca.server("127.0.0.1")
			secured.ClientAuth, secured.ClientCAs, secured.MaxVersion = tls.RequireAndVerifyClientCert, ca.pool(), version
			var shown atomic.Value
			w := newWebhook(t, secured, func(c net.Conn, _ int, _ *http.Request) bool {
				shown.Store(c.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName)
				return ok(c, good)
			})
			h := prepare(t, New(nil), "https://"+w.addr, func(h *schema.Hook) {
				h.TLS.CA = ca.file
				h.TLS.Cert, h.TLS.Key = ca.clientFiles("the switch")
			})
			wantOK(t, ask(h, patience))
			if shown.Load() != "the switch" {
				t.Errorf("the webhook was shown %v", shown.Load())
			}

			without := prepare(t, New(nil), "https://"+w.addr, func(h *schema.Hook) { h.TLS.CA = ca.file })
			// TLS 1.2 says so in the handshake, TLS 1.3 when the answer is read.
			wantFailure(t, ask(without, patience), schema.ReasonTLSError, "tls: ")
		})
	}
}

func TestAPEMFileThatIsNoFileIsRefusedAndNotWaitedFor(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.clientFiles("the switch")
	pipe, large := filepath.Join(t.TempDir(), "pipe"), filepath.Join(t.TempDir(), "large")
	for _, err := range []error{syscall.Mkfifo(pipe, 0o600), os.WriteFile(large, nil, 0o600), os.Truncate(large, schema.MaxPEM+1)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name string
		tls  schema.TLS
		want string
	}{
		{"a CA that is a pipe", schema.TLS{CA: pipe}, "tls.ca: read " + pipe + ": not a regular file"},
		{"a CA that is a device without an end", schema.TLS{CA: "/dev/zero"}, "tls.ca: read /dev/zero: not a regular file"},
		{"a CA that is too large", schema.TLS{CA: large}, "tls.ca: " + large + " has more than 4194304 bytes"},
		{"a certificate that is a pipe", schema.TLS{Cert: pipe, Key: key}, "tls.cert and tls.key: read " + pipe + ": not a regular file"},
		{"a key that is a pipe", schema.TLS{Cert: cert, Key: pipe}, "tls.cert and tls.key: read " + pipe + ": not a regular file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := tlsConfig(tc.tls); err == nil || err.Error() != tc.want {
				t.Errorf("got %v; want %s", err, tc.want)
			}
		})
	}
}

func TestATLSSessionIsResumed(t *testing.T) {
	ca := newAuthority(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			secured := ca.server("127.0.0.1")
			secured.MaxVersion = version
			var resumed []bool
			w := newWebhook(t, secured, func(c net.Conn, n int, _ *http.Request) bool {
				resumed = append(resumed, c.(*tls.Conn).ConnectionState().DidResume)
				return ok(c, good)
			})
			h := prepare(t, New(nil), "https://"+w.addr, func(h *schema.Hook) { h.TLS.CA = ca.file })
			for range 2 {
				wantOK(t, ask(h, patience))
				forget(h)
			}
			if resumed[0] || !resumed[1] {
				t.Errorf("resumed: %v; want the second connection only", resumed)
			}
		})
	}
}

func TestASessionOfOneTrustDoesNotServeAnother(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	w := newWebhook(t, ours.server("127.0.0.1"), answersWell)
	c := New(nil)
	trusting := prepare(t, c, "https://"+w.addr, func(h *schema.Hook) { h.TLS.CA = ours.file })
	wantOK(t, ask(trusting, patience))
	for _, ca := range []string{other.file, ""} {
		h := prepare(t, c, "https://"+w.addr, func(h *schema.Hook) { h.TLS.CA = ca })
		wantFailure(t, ask(h, patience), schema.ReasonTLSError, "unknown authority")
	}
}

func TestFilesThatHoldNoCertificateAreNamed(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.clientFiles("the switch")
	for _, tc := range []struct {
		name string
		conf schema.TLS
		want string
	}{
		{"an authority's file that is missing", schema.TLS{CA: "missing.pem"}, "tls.ca: open missing.pem: no such file or directory"},
		{"an authority's file that holds a key", schema.TLS{CA: key}, "tls.ca: " + key + " holds no PEM certificate"},
		{"a certificate in place of a key", schema.TLS{Cert: cert, Key: cert}, "tls.cert and tls.key: "},
	} {
		conf := &schema.Hook{TLS: tc.conf}
		conf.SetDefaults()
		conf.URL, conf.TLS = "https://crm.example", tc.conf
		if _, err := New(nil).Prepare(&schema.Project{}, conf); err == nil || len(err.Error()) < len(tc.want) || err.Error()[:len(tc.want)] != tc.want {
			t.Errorf("%s: got %v; want %s", tc.name, err, tc.want)
		}
	}
}
