package schema

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the .want files anew; read what changed")

// testOptions is an environment and a file system of a few known things.
func testOptions() LoadOptions {
	env := map[string]string{
		"HOOKSWITCH_TOKEN": "0123456789abcdef", "CRM_SECRET": "a secret", "TOKEN": "hunter2-hunter2-hunter2", "SHORT": "short",
		"PORT": "8077", "PATIENCE": "1m30s", "YES": "true", "HALF": "0.5", "NESTED": "${SHORT}", "PLAIN": "$",
		"KEY": "another secret",
	}
	files := map[string]string{
		"/run/secrets/crm": "key\n", "/run/secrets/in": "0123456789abcdef\n", "/run/secrets/crm-token": "hunter2-hunter2-hunter2\r\n",
		"conf/secret": "hunter2-hunter2-2\n", "conf/lines": "one\ntwo\n\n", "short": "short\n", "large": strings.Repeat("x", maxSecretFile+1),
	}
	return LoadOptions{
		Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		ReadFile: func(name string) ([]byte, error) {
			if content, ok := files[name]; ok {
				return []byte(content), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
	}
}

func testFiles(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: no files (%v)", pattern, err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		if files[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// Each testdata/invalid/X.yaml has its faults in X.want, all of them, as an operator reads them.
func TestEveryFaultOfABadFileIsReportedWithItsPlace(t *testing.T) {
	for name, text := range testFiles(t, "testdata/invalid/*.yaml") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			_, err := Load(filepath.Base(name), text, testOptions())
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("got %v; want Faults", err)
			}
			checkFaults(t, faults)
			got, golden := err.Error()+"\n", strings.TrimSuffix(name, ".yaml")+".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// checkFaults holds what is true of any file's faults.
func checkFaults(t *testing.T, faults Faults) {
	t.Helper()
	for i, f := range faults {
		if f.Line < 1 || f.Column < 1 || f.Key == "" || f.Found == "" || f.Want == "" {
			t.Errorf("a fault without its place, key or wish: %#v", f)
		}
		if i > 0 && f.compare(faults[i-1]) < 0 {
			t.Errorf("faults out of order: %v after %v", f, faults[i-1])
		}
		if text := f.Error(); strings.ContainsAny(text, "\n\r\x00") {
			t.Errorf("a fault of several lines: %q", text)
		}
	}
}

func TestAFaultNeverShowsASecret(t *testing.T) {
	for name, text := range testFiles(t, "testdata/invalid/*.yaml") {
		_, err := Load(filepath.Base(name), text, testOptions())
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a secret shows:\n%v", name, err)
		}
	}
}

func TestGoodFilesLoad(t *testing.T) {
	for name, text := range testFiles(t, "testdata/valid/*.yaml") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			c, err := Load("conf/"+filepath.Base(name), text, testOptions())
			if err != nil {
				t.Fatal(err)
			}
			checkConfig(t, c)
		})
	}
}

// checkConfig holds what every part of the program relies on in a configuration that was loaded.
func checkConfig(t *testing.T, c *Config) {
	t.Helper()
	numbers := map[string]bool{}
	for i := range c.Projects {
		p := c.Projects[i]
		schemes := map[string]*Scheme{}
		for j := range p.Schemas {
			schemes[p.Schemas[j].ID] = &p.Schemas[j]
		}
		if len(schemes) != len(p.Schemas) || !validID(p.ID) {
			t.Errorf("project %q: bad or repeated ids", p.ID)
		}
		if schemes[p.DefaultSchema] == nil && c.DefaultSchema == "" {
			t.Errorf("project %q has no default", p.ID)
		}
		for _, n := range p.Numbers {
			if !allDigits(n.Number) || n.Number == "" || numbers[n.Number] || schemes[n.Schema] == nil {
				t.Errorf("number %+v: bad, repeated, or without a scheme", n)
			}
			numbers[n.Number] = true
		}
		for _, s := range p.Schemas {
			checkLoadedScheme(t, p, &s, schemes)
		}
		for j := range p.Hooks {
			h := &p.Hooks[j]
			if urlProblem(h.URL, true) != "" || h.RequestTimeout <= 0 || h.MaxInFlight < 1 || h.Method == "" {
				t.Errorf("hook %+v: bad", h)
			}
		}
	}
}

func checkLoadedScheme(t *testing.T, p *Project, s *Scheme, schemes map[string]*Scheme) {
	t.Helper()
	s.Hours.IsOpen(time.Unix(1_790_000_000, 0))
	if s.Hours != nil && (s.Hours.compiled == nil || s.Hours.ClosedSchema != "" && schemes[s.Hours.ClosedSchema] == nil) {
		t.Errorf("scheme %q: hours are not compiled, or closed_schema is missing", s.ID)
	}
	if len(s.Steps) == 0 || leads(s, schemes, len(schemes)) {
		t.Errorf("scheme %q has no steps or leads back to itself", s.ID)
	}
	for i := range s.Steps {
		step := &s.Steps[i]
		if step.Kind() == "" || len(step.Dial) != len(step.Destinations) {
			t.Errorf("step %+v: empty, or not parsed", step)
		}
		for _, d := range step.Destinations {
			if again, err := ParseDestination(d.String(), ""); err != nil || again != d {
				t.Errorf("destination %q reads back as %q (%v)", d, again, err)
			}
		}
	}
}

// leads reports a way of more than left schema steps.
func leads(s *Scheme, schemes map[string]*Scheme, left int) bool {
	for i := range s.Steps {
		if to := schemes[s.Steps[i].Schema]; to != nil && (left == 0 || leads(to, schemes, left-1)) {
			return true
		}
	}
	return false
}

func TestAnEmptyFileGivesTheDefaults(t *testing.T) {
	var want Config
	want.SetDefaults()
	for _, name := range []string{"empty", "comment", "empty_document"} {
		text, err := os.ReadFile("testdata/valid/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		got, err := Load(name, text, testOptions())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got.Notes = nil // it has no projects
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got %+v; want the defaults", name, got)
		}
	}
}

func load(t *testing.T, name string) *Config {
	t.Helper()
	text, err := os.ReadFile("testdata/valid/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load("conf/"+name+".yaml", text, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNumbersInAFileKeepTheirDigits(t *testing.T) {
	p := load(t, "numbers_as_numbers").Projects[0]
	got := fmt.Sprint(p.ID, p.Destinations.Allow, p.Destinations.Deny, p.Numbers, p.Schemas[0].Steps[0].Destinations)
	want := "1001[380 7] [380900] [{380442223344 1  } {380442223345 1  } {0443 1  }] [380440000001 380441112233 ops]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestVariablesAndSecretFilesAreFilledIn(t *testing.T) {
	c := load(t, "environment")
	got := []any{
		c.Listen, c.Admin.Tokens[0].Token.Reveal(), c.Admin.Tokens[1].Token.Reveal(), c.Intake.MaxConns, c.Intake.IdleTimeout,
		c.Intake.Tokens[0].Reveal(), c.Log.MaskNumbers, c.Tracing.Sample, c.Store, c.Projects[0].Hooks[0].Sign.Reveal(),
	}
	want := []any{
		"127.0.0.1:8077", "hunter2-hunter2-hunter2", "hunter2-hunter2-2", 8077, 90 * time.Second,
		"hunter2-hunter2-hunter2", true, 0.5, "bolt:${PORT}/${SHORT}", "one\ntwo\n",
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("value %d: got %q; want %q", i, got[i], want[i])
		}
	}
}

func TestAFileSaysOfItsProjectsWhetherItHasSome(t *testing.T) {
	const one = "\n  - {id: a, default_schema: \"1\", schemas: [{id: \"1\", steps: [{hangup: busy}]}]}\n"
	for text, want := range map[string]bool{
		"": false, "# nothing": false, "---\n": false, "~": false, "store: none": false, "projects:": false, "projects: null": false,
		"projects: []": true, "projects:" + one: true,
	} {
		c, err := Load("a.yaml", []byte(text), LoadOptions{})
		if err != nil || c.SaysProjects != want || (len(c.Notes) == 0) != want {
			t.Errorf("%q: got %v, %+v; want %v, and a note where it says nothing", text, err, c, want)
		}
	}
}

func TestPathsOfPEMFilesAreSeenFromTheConfigurationsFolder(t *testing.T) {
	got := load(t, "hook_urls").Projects[0].Hooks[4].TLS
	if want := (TLS{Cert: "conf/tls/a.pem", Key: "/etc/a.key", Contents: got.Contents}); got != want {
		t.Errorf("got %+v; want %+v", got, want)
	}
}

func TestAProjectsDialTemplatesCompleteThemselvesFromTheInstallations(t *testing.T) {
	c, err := Load("a.yaml", []byte(`
dial: {kamailio: {login: "sip:{{login}}@pbx"}}
projects:
  - id: a
    default_schema: "1"
    dial: {asterisk: {number: "SIP/{{number}}"}}
    schemas: [{id: "1", steps: [{hangup: busy}]}]`), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	d := c.Projects[0].Dialing(&c.Dial)
	want := defaultDialing()
	want.Asterisk.Number, want.Kamailio.Login = "SIP/{{number}}", "sip:{{login}}@pbx"
	if *d != want {
		t.Errorf("got %+v; want %+v", *d, want)
	}
}

func TestHostileFilesAreRefusedInTime(t *testing.T) {
	for name, text := range map[string]string{
		"nested lists":        strings.Repeat("[", 1_000_000),
		"nested mappings":     strings.Repeat("{a: ", 1_000_000),
		"nested block lists":  strings.Repeat("- ", 1_000_000),
		"deep where it fits":  "projects: [{hooks: [{params: " + strings.Repeat("[{object: ", 3000) + strings.Repeat("}]", 3000) + "}]}]",
		"a huge file":         strings.Repeat("#", MaxConfig+1),
		"millions of numbers": "projects: [{numbers: [" + strings.Repeat("{},", maxNodes) + "]}]",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load("a.yaml", []byte(text), testOptions())
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("got %v; want Faults", err)
			}
		})
	}
}

func TestASecretPrintsAsStars(t *testing.T) {
	s := NewSecret("hunter2")
	asText, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	hook := Hook{Sign: s, Headers: map[string]Secret{"X": s}}
	for _, got := range []string{fmt.Sprint(s), fmt.Sprintf("%#v", s), fmt.Sprintf("%+v %#v", hook, hook), string(asText)} {
		if strings.Contains(got, "hunter2") || !strings.Contains(got, "***") {
			t.Errorf("got %q", got)
		}
	}
	if s.Reveal() != "hunter2" || NewSecret("").String() != "" {
		t.Error("a secret lost its text, or an empty one seems to have one")
	}
}

func TestAPathIntoAnAnswerMakesNothingElseOfIt(t *testing.T) {
	for path, want := range map[string]bool{
		"dst_phone": true, "result.phone": true, "items.0.phone": true, "items.#.phone": true, "agents.#(online==true).phone": true,
		`agents.#(state!="busy").phone`: true, `a\.b`: true, "номер": true, "": true, "*.phone": true,
		"a|@tostr|@tostr": false, "@this": false, `!"380441111111"`: false, "{a,b}": false, "[a,b]": false, "..#": false, "a\nb": false,
		`agents.#(@tostr=="x").phone`: false, strings.Repeat("a", 257): false,
	} {
		if got := harmlessPath(path); got != want {
			t.Errorf("%q: got %v; want %v", path, got, want)
		}
	}
}
