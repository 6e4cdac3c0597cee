package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hookswitch/bench/hooksim"
)

func TestAFileWithoutProjectsIsNotTakenUpByItself(t *testing.T) {
	hook := startSim(t, hooksim.Options{})
	good := reloadProject(hook.URL(), 1)
	for _, tc := range []struct{ name, text string }{
		{"emptied", ""},
		{"left with a comment", "# being written\n"},
		{"cut off before its projects", "listen: 127.0.0.1:0\nstore: none\n"},
		{"cut off right after the key", "listen: 127.0.0.1:0\nstore: none\nprojects:\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := start(t, good)
			s.overwrite(tc.text)
			s.refuses(1, "projects: found nothing; want a list, which may be empty ([]): the file in use has projects, 1 in all")
			if got := s.metric("hookswitch_config_current"); got != 0 {
				t.Errorf("hookswitch_config_current is %v; want 0", got)
			}
			for _, number := range []string{steadyNumber, plainNumber} {
				if d, status := s.route(call(number)); status != 200 || d.Reason != "ok" {
					t.Errorf("%s by the old table: got %d %+v; want reason ok", number, status, d)
				}
			}
			s.reload(reloadProject(hook.URL(), 2))
			if d, _ := s.route(call(plainNumber)); d.DstPhone != "380440000002" || s.metric("hookswitch_config_current") != 1 {
				t.Errorf("the mended file: got %s; want version 2, and hookswitch_config_current 1", d.DstPhone)
			}
		})
	}
}

func TestAFileThatSaysThatThereAreNoProjectsIsTakenUp(t *testing.T) {
	hook := startSim(t, hooksim.Options{})
	s := start(t, reloadProject(hook.URL(), 1))
	s.reload("projects: []\n")
	if _, status := s.route(call(plainNumber)); status != 404 {
		t.Errorf("got %d; want 404, as nobody has the number any more", status)
	}
	s.reload("log: {level: info}\n") // nothing is lost by this one
}

func TestAReloadTellsWhatTheFileNoLongerHas(t *testing.T) {
	hook := startSim(t, hooksim.Options{})
	good := reloadProject(hook.URL(), 1)
	const message = "the file no longer has projects or numbers that it had"
	s := start(t, "log: {mask_numbers: true}"+good)
	s.reload("log: {mask_numbers: true}" + strings.Replace(good, `- {number: "380442223366", schema: "101"}`, "", 1))
	s.reload("log: {mask_numbers: true}" + good)
	s.reload("projects: []\n" + "log: {mask_numbers: true}\n")
	waitFor(t, 3*time.Second, "both losses are in the log", func() bool { return len(s.logged(message)) == 2 })
	var got []string
	for _, line := range s.logged(message) {
		got = append(got, fmt.Sprint(line["level"], " ", line["projects_gone"], line["projects"], " ", line["numbers_gone"], line["numbers"]))
	}
	want := "warn 0 [] 1 [380***66]; warn 1 [1001] 3 [380***44 380***66 380***55]"
	if text := strings.Join(got, "; "); text != want {
		t.Errorf("the log says %s; want %s", text, want)
	}
}

func TestAFileThatIsNoFileIsRefusedOnceAndTheNextIsTakenUp(t *testing.T) {
	hook := startSim(t, hooksim.Options{})
	for _, tc := range []struct {
		name string
		put  func(name string) error
	}{
		{"a pipe", func(name string) error { return syscall.Mkfifo(name, 0o600) }},
		{"a link to a device without an end", func(name string) error { return os.Symlink("/dev/zero", name) }},
		{"a folder", func(name string) error { return os.Mkdir(name, 0o700) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := start(t, reloadProject(hook.URL(), 1))
			if err := os.Remove(s.Config); err != nil {
				t.Fatal(err)
			}
			if err := tc.put(s.Config); err != nil {
				t.Fatal(err)
			}
			s.refuses(1, "not a regular file")
			time.Sleep(2500 * time.Millisecond) // two looks more
			s.refuses(1, "not a regular file")
			s.signal(syscall.SIGHUP)
			s.refuses(2, "not a regular file")
			if err := os.Remove(s.Config); err != nil {
				t.Fatal(err)
			}
			s.write(reloadProject(hook.URL(), 2))
			waitFor(t, 5*time.Second, "version 2 is taken up", func() bool {
				d, _ := s.route(call(plainNumber))
				return d.DstPhone == "380440000002"
			})
		})
	}
}

func TestAPipeIsCheckedLikeAFile(t *testing.T) {
	check := exec.Command(binary, "check", "-c", "/dev/stdin")
	check.Stdin = strings.NewReader("store: none\n" + reloadProject("http://127.0.0.1:9/", 1)) // not a file, so that os/exec makes a pipe
	if out, err := check.CombinedOutput(); err != nil || !strings.Contains(string(out), "sound: 1 projects, 3 numbers") {
		t.Errorf("got %v, %s; want it found sound", err, out)
	}
}

func TestCheckNotesAFileWithoutProjects(t *testing.T) {
	name := filepath.Join(t.TempDir(), "hookswitch.yaml")
	for text, noted := range map[string]bool{"": true, "store: none\n": true, "store: none\nprojects:\n": true, "projects: []\n": false} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs, code := run(t, nil, "check", "-c", name)
		if strings.Contains(out, "note: projects: ") != noted || !strings.Contains(out, "sound: 0 projects") || code != 0 {
			t.Errorf("%q: got %d, %s%s; want it found sound, with a note: %v", text, code, out, errs, noted)
		}
	}
}

// tlsProject has three numbers, of which tlsNumber asks a hook that proves itself by a private CA's
// certificate; the steady hook is beside it.
func tlsProject(simURL, port, ca, nameServer string) string {
	return fmt.Sprintf(`
dns: {servers: [%q]}
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    numbers:
      - {number: "380442223344", schema: "100"}
      - {number: "380442223377", schema: "102"}
    schemas:
      - {id: "1", steps: [{dial: ["380440000001"]}]}
      - {id: "100", steps: [{hook: steady}]}
      - {id: "102", steps: [{hook: secured}]}
    hooks:
      - {id: steady, url: "%s", breaker: {open_for: 1m, slow_call: 1}}
      - {id: secured, url: "https://crm.example:%s/", request_timeout: 5s, breaker: {failures: 1000, min_calls: 1000}, tls: {ca: %q}}
`, nameServer, simURL, port, ca)
}

func TestACertificateThatHasChangedUnderItsNameIsTakenUp(t *testing.T) {
	const tlsNumber = "380442223377"
	ours, other := newAuthority(t), newAuthority(t)
	_, port, _ := net.SplitHostPort(serveTCP(t, secured(ours.issue("crm.example", time.Now().Add(time.Hour)), answers(reply(200, good)))))
	failing := startSim(t, hooksim.Options{FailRate: 1})
	names := serveDNS(t, map[string]netip.Addr{"crm.example.": netip.MustParseAddr("127.0.0.1")})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := tlsProject(failing.URL(), port, ca, names)
	copyFile(t, other.file, ca)
	s := start(t, text)
	for range 5 {
		s.route(call(steadyNumber))
	}
	reason := func(number string) string {
		t.Helper()
		d, _ := s.route(call(number))
		return d.Reason
	}
	if got := reason(tlsNumber); got != "tls_error" {
		t.Fatalf("by the other authority's certificate: got %s; want tls_error", got)
	}

	copyFile(t, ours.file, ca)
	s.reload(text)
	if got := reason(tlsNumber); got != "ok" {
		t.Errorf("the new certificate, after SIGHUP: got %s; want ok", got)
	}
	if got := reason(steadyNumber); got != "breaker_open" {
		t.Errorf("the hook beside it: got %s; want breaker_open, as before", got)
	}

	if err := os.WriteFile(ca, []byte("-----BEGIN CERT"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	s.refuses(1, "holds no PEM certificate")
	if got := reason(tlsNumber); got != "ok" {
		t.Errorf("with a broken certificate on the disk: got %s; want ok by the last good one", got)
	}

	copyFile(t, other.file, ca)
	now := time.Now()
	if err := os.Chtimes(s.Config, now, now); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 5*time.Second, "the certificate is taken up, as the configuration was touched", func() bool { return reason(tlsNumber) == "tls_error" })
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// overwrite puts text into the file that is there, and nothing beside it.
func (s *service) overwrite(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.Config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// refuses waits until that many reloads have been refused, each with one fault in the log that says so.
func (s *service) refuses(times int, fault string) {
	s.t.Helper()
	var logged []map[string]any
	waitFor(s.t, 5*time.Second, fmt.Sprintf("reload %d is refused", times), func() bool {
		logged = s.logged("reload refused; the last good configuration stays in use")
		return len(logged) >= times
	})
	if got := s.metric(`hookswitch_config_reloads_total{result="refused"}`); got != float64(times) || len(logged) != times {
		s.t.Fatalf("%v reloads are counted as refused, and %d faults are in the log; want %d", got, len(logged), times)
	}
	if got := fmt.Sprint(logged[times-1]["fault"]); !strings.Contains(got, fault) {
		s.t.Errorf("got the fault %q; want %q in it", got, fault)
	}
}
