package e2e

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hookswitch/bench/hooksim"
)

// Numbers of reloadProject.
const (
	steadyNumber   = "380442223344" // asks a hook that no version changes
	changingNumber = "380442223366" // asks a hook that each version changes
	plainNumber    = "380442223355" // dials 38044000000V in version V
)

// reloadProject is version 1 to 9 of a configuration.
func reloadProject(hookURL string, version int) string {
	return fmt.Sprintf(`
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    numbers:
      - {number: "380442223344", schema: "100"}
      - {number: "380442223366", schema: "101"}
      - {number: "380442223355", schema: "1"}
    schemas:
      - {id: "1", steps: [{dial: ["38044000000%[2]d"]}]}
      - {id: "100", steps: [{hook: steady}]}
      - {id: "101", steps: [{hook: changing}]}
    hooks:
      - {id: steady, url: "%[1]s", request_timeout: 5s, max_in_flight: 4096, breaker: {open_for: 1m, slow_call: 1}}
      - {id: changing, url: "%[1]s", request_timeout: 5s, max_in_flight: 4096, breaker: {open_for: 1m, slow_call: 1}, headers: {X-Version: "%[2]d"}}
`, hookURL, version)
}

func TestAReloadUnderLoadFailsNoDecision(t *testing.T) {
	rate, calls, pause := 500.0, 1000, 300*time.Millisecond
	if full {
		rate, calls, pause = 2000, 20000, time.Second
	}
	hook := startSim(t, hooksim.Options{})
	s := start(t, reloadProject(hook.URL(), 1))
	numbers := []string{steadyNumber, changingNumber, plainNumber}

	loaded := make(chan []outcome, 1)
	go func() {
		loaded <- s.openLoop(calls, rate, func(i int) url.Values { return call(numbers[i%len(numbers)]) })
	}()
	reloads := 0
	var outcomes []outcome
	for outcomes == nil {
		select {
		case outcomes = <-loaded:
		case <-time.After(pause):
			reloads++
			s.reload(reloadProject(hook.URL(), 1+reloads%9))
			if d, _ := s.route(call(plainNumber)); d.DstPhone != fmt.Sprintf("38044000000%d", 1+reloads%9) {
				t.Errorf("after reload %d: got %s; want version %d taken up", reloads, d.DstPhone, 1+reloads%9)
			}
		}
	}

	failed := wantEach(t, outcomes, "a decision of its hook, or of schema 1, with reason ok", func(i int, o *outcome) bool {
		source := "hook"
		if numbers[i%len(numbers)] == plainNumber {
			source = "schema"
		}
		return o.Source == source && o.Reason == "ok" && o.DstPhone != ""
	})
	if reloads < 3 {
		t.Errorf("%d reloads during the load; want at least 3", reloads)
	}
	t.Logf("%d of %d decisions failed at %.0f/s, %d reloads; p50, p99, p99.9, max in ms:%s", failed, calls, rate, reloads, latenciesOf(outcomes))
}

func TestAFaultyFileLeavesTheOldTableAndItsFaultsAreThoseOfCheck(t *testing.T) {
	hook := startSim(t, hooksim.Options{})
	good := reloadProject(hook.URL(), 1)
	for _, tc := range []struct {
		name, config string
		faults       int
	}{
		{"with three faults in three places", strings.NewReplacer(
			`{hook: changing}`, `{hook: missing}`,
			`id: steady, url:`, `id: steady, method: FETCH, url:`,
			`default_schema: "1"`, `default_shema: "1"`).Replace(good), 4}, // a default scheme is missing too
		{"with more faults than calls may write lines", strings.Replace(good, "    schemas:\n", strings.Repeat("      - {number: none, schema: \"1\"}\n", 150)+"    schemas:\n", 1), 150},
		{"that is no YAML", "projects: [\n", 1},
		{"that names a certificate which isn't there", strings.Replace(good, "id: steady,", "id: steady, tls: {ca: gone.pem},", 1), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := start(t, good)
			s.write(tc.config)
			s.signal(syscall.SIGHUP)
			waitFor(t, 3*time.Second, "the file is refused", func() bool { return s.metric(`hookswitch_config_reloads_total{result="refused"}`) == 1 })
			for series, want := range map[string]float64{
				"hookswitch_config_current":                    0,
				"hookswitch_table_version":                     1,
				`hookswitch_config_reloads_total{result="ok"}`: 0,
			} {
				if got := s.metric(series); got != want {
					t.Errorf("%s is %v; want %v", series, got, want)
				}
			}
			for _, number := range []string{steadyNumber, changingNumber, plainNumber} {
				if d, status := s.route(call(number)); status != 200 || d.Reason != "ok" {
					t.Errorf("%s by the old table: got %d %+v; want reason ok", number, status, d)
				}
			}
			var logged []string
			waitFor(t, 3*time.Second, fmt.Sprintf("%d faults in the log", tc.faults), func() bool {
				logged = nil
				for _, line := range s.logged("reload refused; the last good configuration stays in use") {
					logged = append(logged, fmt.Sprint(line["fault"]))
				}
				return len(logged) >= tc.faults
			})
			if checked := s.check(1); !slices.Equal(logged, checked) || len(logged) != tc.faults {
				t.Errorf("the log has %d faults\n%s\nand check prints %d\n%s\nwant the same %d", len(logged), strings.Join(logged, "\n"), len(checked), strings.Join(checked, "\n"), tc.faults)
			}

			s.reload(reloadProject(hook.URL(), 2))
			if d, _ := s.route(call(plainNumber)); d.DstPhone != "380440000002" || s.metric("hookswitch_config_current") != 1 {
				t.Errorf("the mended file: got %s; want version 2, and hookswitch_config_current 1", d.DstPhone)
			}
			s.check(0)
		})
	}
}

func TestAFileThatIsGoneLeavesTheOldTable(t *testing.T) {
	hook := startSim(t, hooksim.Options{})
	s := start(t, reloadProject(hook.URL(), 1))
	if err := os.Remove(s.Config); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	waitFor(t, 3*time.Second, "the reload is refused", func() bool { return s.metric(`hookswitch_config_reloads_total{result="refused"}`) == 1 })
	if d, status := s.route(call(steadyNumber)); status != 200 || d.Source != "hook" {
		t.Errorf("by the old table: got %d %+v; want the hook's answer", status, d)
	}
}

func TestAChangedFileIsTakenUpWithoutASignal(t *testing.T) {
	hook := startSim(t, hooksim.Options{})
	s := start(t, reloadProject(hook.URL(), 1))
	s.write(reloadProject(hook.URL(), 2))
	waitFor(t, 3*time.Second, "version 2 is taken up", func() bool {
		d, _ := s.route(call(plainNumber))
		return d.DstPhone == "380440000002"
	})
}

func TestAnOpenBreakerSurvivesAReloadThatLeavesItsHookAsItWas(t *testing.T) {
	hook := startSim(t, hooksim.Options{FailRate: 1})
	s := start(t, reloadProject(hook.URL(), 1))
	for range 5 {
		s.route(call(steadyNumber))
		s.route(call(changingNumber))
	}
	s.reload(reloadProject(hook.URL(), 2))
	asked := hook.Stats().Requests
	if d, _ := s.route(call(steadyNumber)); d.Reason != "breaker_open" {
		t.Errorf("the hook that is as it was: got reason %s; want breaker_open", d.Reason)
	}
	if now := hook.Stats().Requests; now != asked {
		t.Errorf("the hook that is as it was: was asked %d times; want it left alone", now-asked)
	}
	if d, _ := s.route(call(changingNumber)); d.Reason != "bad_status" {
		t.Errorf("the hook with new settings: got reason %s; want it asked anew, bad_status", d.Reason)
	}
}

func TestACallInFlightFinishesByTheTableItBeganWith(t *testing.T) {
	hook := startSlowHook(t)
	s := start(t, fmt.Sprintf(slowProject, hook.URL, "intake: {budget: 20s}"))
	outcomes := inFlight(t, s, hook, 3)
	s.reload(reloadProject("http://127.0.0.1:9/", 7)) // the hook is gone, the number another's
	if d, _ := s.route(call(plainNumber)); d.DstPhone != "380440000007" {
		t.Errorf("a new call: got %s; want it decided by the new table", d.DstPhone)
	}
	close(hook.release)
	for range 3 {
		if o := <-outcomes; o.err != nil || o.status != 200 || value(o.Hook) != "slow" || o.DstPhone != "380441111111" {
			t.Errorf("a call in flight: got %d %+v, %v; want the answer of the hook it had asked", o.status, o.decision, o.err)
		}
	}
}

// reload writes a sound configuration, sends SIGHUP, and waits until it is in use.
func (s *service) reload(config string) {
	s.t.Helper()
	before := s.metric(`hookswitch_config_reloads_total{result="ok"}`)
	s.write(config)
	s.signal(syscall.SIGHUP)
	waitFor(s.t, 5*time.Second, "the reload", func() bool { return s.metric(`hookswitch_config_reloads_total{result="ok"}`) > before })
}

// check runs `hookswitch check` on the service's file, expects the exit code, and returns the faults.
func (s *service) check(code int) []string {
	s.t.Helper()
	_, faults, got := run(s.t, nil, "check", "-c", s.Config)
	if got != code {
		s.t.Errorf("hookswitch check: exit code %d; want %d", got, code)
	}
	// A fault that has no place in the file follows the program's name, as any other error does.
	return strings.Split(strings.TrimPrefix(strings.TrimRight(faults, "\n"), "hookswitch: "), "\n")
}

// startSim serves a simulated webhook until the test ends.
func startSim(t *testing.T, o hooksim.Options) *hooksim.Server {
	t.Helper()
	o.Listen = "127.0.0.1:0"
	sim, err := hooksim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- sim.Serve() }()
	t.Cleanup(func() {
		if err := errors.Join(sim.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	return sim
}
