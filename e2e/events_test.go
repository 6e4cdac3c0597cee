package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"github.com/valyala/fasthttp"

	"hookswitch/bench/hooksim"
)

// The endpoints of the events' tests, as in the field: of 50, 5 hang, 5 answer 500 half of the time,
// and 1 is gone: nothing listens there, or what does says 410. Each event is one endpoint's.
const (
	endpoints = 50
	hanging   = 5 // 0 to 4
	flaky     = 5 // 5 to 9
	goneOne   = 10
)

// eventRig is where events are sent to, and what came of them.
type eventRig struct {
	t      *testing.T
	config string // but for the store
	pbx    fasthttp.Client

	mu       sync.Mutex
	accepted map[string]bool            // calls whose event was answered 202
	received map[string][]time.Duration // calls, and how long after its event was due each delivery came
}

// newEventRig makes one whose lookups ask the webhook at hook.
func newEventRig(t *testing.T, saysGone bool, hook string) *eventRig {
	r := &eventRig{t: t, accepted: map[string]bool{}, received: map[string][]time.Duration{}}
	serve := func(o hooksim.Options) string {
		o.Listen = "127.0.0.1:0"
		s, err := hooksim.New(o)
		if err != nil {
			t.Fatal(err)
		}
		go s.Serve()
		t.Cleanup(func() { s.Close() })
		return s.URL()
	}
	healthy := serve(hooksim.Options{OnAnswer: r.receive})
	hangs := serve(hooksim.Options{HangRate: 1})
	fails := serve(hooksim.Options{FailRate: 0.5, OnAnswer: r.receive})
	gone := serve(hooksim.Options{FailRate: 1, FailStatus: http.StatusGone, OnAnswer: r.receive})
	if !saysGone {
		gone = nowhere(t)
	}
	var webhooks strings.Builder
	for i := range endpoints {
		target := healthy
		switch {
		case i < hanging:
			target = hangs
		case i < hanging+flaky:
			target = fails
		case i == goneOne:
			target = gone
		}
		fmt.Fprintf(&webhooks, "      - {id: %d, url: %q, event: destroy, request_timeout: 5s, retry: 500ms..5s x 1000, when: [{param: callid, op: suffix, value: \"-%02d\"}],"+
			" params: [{name: id, param: callid}, {name: sent, param: sent}, {name: from, param: caller}, {name: text, value: \"call of {{caller}} to {{callee}}\"}]}\n",
			i+1, fmt.Sprint(target, i), i)
	}
	r.config = fmt.Sprintf(`
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    numbers: [{number: "380442223344", schema: "100"}]
    schemas:
      - {id: "1", steps: [{dial: ["380440000001"]}]}
      - {id: "100", steps: [{hook: crm}]}
    hooks: [{id: crm, url: %q}]
    webhooks:
%s`, hook, webhooks.String())
	return r
}

// nowhere is an address that nothing listens at.
func nowhere(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String() + "/"
}

// receive notes a delivery that was taken: one that is answered 500 has not reached anybody.
func (r *eventRig) receive(status int, _, _, body string) {
	if status >= 300 {
		return
	}
	id, sent := gjson.Get(body, "id").String(), gjson.Get(body, "sent").Int()
	if id == "" {
		r.t.Errorf("an endpoint got %q", body)
		return
	}
	late := time.Since(time.Unix(0, sent))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received[id] = append(r.received[id], late)
}

// endpointOf is the endpoint of a call.
func endpointOf(call string) (n int) {
	fmt.Sscan(strings.TrimLeft(call[strings.LastIndexByte(call, '-')+1:], "0")+" ", &n)
	return n
}

func works(call string) bool { n := endpointOf(call); return n >= hanging && n != goneOne }

// send sends an event until it is accepted, by whichever instance answers. It gives up when stopped.
func (r *eventRig) send(call string, due time.Time, instances func() []string, stopped *atomic.Bool) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.SetMethod("POST")
	req.Header.SetContentType("application/x-www-form-urlencoded")
	req.SetBodyString(url.Values{
		"event": {"destroy"}, "callid": {call}, "direction": {"inbound"}, "project": {"1001"}, "sent": {fmt.Sprint(due.UnixNano())},
		"caller": {"380501112233"}, "callee": {"380442223344"}, "duration": {"42"}, "talktime": {"37"}, "city": {"Київ"},
		"source": {"google"}, "medium": {"cpc"}, "userip": {"192.0.2.1"}, "landing": {"https://example.com/a?b=c"},
	}.Encode())
	for !stopped.Load() {
		list := instances()
		req.SetRequestURI(list[rand.IntN(len(list))] + "/v1/events")
		if err := r.pbx.DoTimeout(req, resp, 10*time.Second); err == nil {
			switch status := resp.StatusCode(); {
			case status == http.StatusAccepted:
				r.mu.Lock()
				r.accepted[call] = true
				r.mu.Unlock()
				return
			case status < 500 && status != http.StatusRequestTimeout:
				r.t.Errorf("event of %s: got %d: %s", call, status, resp.Body())
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// drive sends n events at a steady rate a second, whether earlier ones were accepted or not, and returns
// when all are. A service that is down holds it up, once that many wait.
func (r *eventRig) drive(n int, rate float64, instances func() []string, stopped *atomic.Bool) {
	const waiting = 200
	var sending sync.WaitGroup
	slots := make(chan struct{}, waiting)
	due := time.Now().Add(10 * time.Millisecond)
	for i := 0; i < n && !stopped.Load(); i++ {
		due = due.Add(time.Duration(float64(time.Second) / rate))
		sleepUntil(due)
		slots <- struct{}{}
		if time.Since(due) > time.Second {
			due = time.Now() // it was down; what was not sent then is not made up for
		}
		at := due
		sending.Go(func() {
			r.send(fmt.Sprintf("%d-%02d", i, i%endpoints), at, instances, stopped)
			<-slots
		})
	}
	sending.Wait()
}

// counts are what came of the accepted events of the endpoints that work.
type counts struct {
	accepted, delivered, lost int
	healthy, twice            int       // of the endpoints that never fail: delivered, and how often once more
	delays                    latencies // of their first deliveries
}

func (r *eventRig) count() (c counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for call := range r.accepted {
		c.accepted++
		if !works(call) {
			continue
		}
		got := r.received[call]
		if len(got) == 0 {
			c.lost++
			continue
		}
		c.delivered++
		if endpointOf(call) >= hanging+flaky {
			c.healthy++
			c.twice += len(got) - 1
			c.delays = append(c.delays, got[0])
		}
	}
	slices.Sort(c.delays)
	return c
}

// settle waits until every accepted event has reached its endpoint, where that works.
func (r *eventRig) settle(within time.Duration) counts {
	r.t.Helper()
	waitFor(r.t, within, "every accepted event is delivered", func() bool { return r.count().lost == 0 })
	return r.count()
}

// What is promised, on an idle machine: how long after its event is due a delivery comes to a healthy
// endpoint at the 99th percentile, how much slower decisions are beside events.
const (
	maxDelay  = 500 * time.Millisecond
	maxSlower = 1.2
)

// meets holds what came to healthy endpoints against the promise.
func (c *counts) meets(t *testing.T) {
	t.Helper()
	if c.twice*1000 >= c.healthy {
		t.Errorf("%d of %d deliveries to healthy endpoints came twice; want under 0.1 %%", c.twice, c.healthy)
	}
	if got := c.delays.at(990); got >= maxDelay {
		t.Errorf("deliveries to healthy endpoints came %s after their events at the 99th percentile; want less than %s", got, maxDelay)
	}
}

func (c counts) String() string {
	return fmt.Sprintf("%d accepted, %d delivered to endpoints that work, %d lost; %d of %d deliveries to healthy ones came twice (%.3f %%)",
		c.accepted, c.delivered, c.lost, c.twice, c.healthy, 100*float64(c.twice)/float64(max(1, c.healthy)))
}

// held is how many deliveries an instance says are waiting.
func (s *service) held() (n float64) {
	for i := range endpoints {
		n += s.metric(fmt.Sprintf(`hookswitch_deliveries_waiting{project="1001",webhook="%d"}`, i+1))
	}
	return n
}

// cpu is the processor time that the service has used, to a hundredth of a second.
func (s *service) cpu() time.Duration {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	// proc(5): utime and stime are the 14th and 15th field; the second may hold blanks.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var user, system int
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		s.t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// fleet are instances that share a store, and are killed.
type fleet struct {
	t      *testing.T
	config string
	mu     sync.Mutex
	list   []*service
}

func startFleet(t *testing.T, size int, config string) *fleet {
	f := &fleet{t: t, config: config}
	for range size {
		f.list = append(f.list, start(t, config))
	}
	return f
}

func (f *fleet) urls() (list []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.list {
		list = append(list, s.URL)
	}
	return list
}

// kill ends an instance as a power cut would, and starts another in its place.
func (f *fleet) kill(i int) {
	s := f.list[i]
	s.signal(syscall.SIGKILL)
	<-s.done
	fresh := start(f.t, f.config)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list[i] = fresh
}

// A process that is killed at any moment loses no event that it has accepted: the receivers count.
func TestNoAcceptedEventIsLostHoweverOftenTheProcessIsKilled(t *testing.T) {
	kills, rate := 4, 200.0
	if full {
		kills, rate = 50, 2000
	}
	for _, tc := range []struct {
		name      string
		instances int
		store     func(*testing.T) string
	}{
		{"on a file", 1, func(t *testing.T) string { return "bolt:" + filepath.Join(t.TempDir(), "hookswitch.db") }},
		{"on a Redis that three share", 3, func(t *testing.T) string { _, at := startLinkRedis(t); return at }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newEventRig(t, tc.instances > 1, nowhere(t))
			f := startFleet(t, tc.instances, "store: "+tc.store(t)+r.config)
			var stopped atomic.Bool
			var driving sync.WaitGroup
			driving.Go(func() { r.drive(1<<30, rate, f.urls, &stopped) })
			for n := range kills {
				time.Sleep(300*time.Millisecond + rand.N(700*time.Millisecond))
				f.kill(n % tc.instances)
			}
			time.Sleep(300 * time.Millisecond)
			stopped.Store(true)
			driving.Wait()
			c := r.settle(2 * time.Minute)
			t.Logf("%d kills: %s", kills, c)
			if c.delivered < kills*10 {
				t.Errorf("only %d were delivered in %d kills", c.delivered, kills)
			}
			// What does not work is held, to the last one.
			held := 0
			for call := range r.accepted {
				if !works(call) {
					held++
				}
			}
			waitFor(t, time.Minute, fmt.Sprint(held, " deliveries to endpoints that don't work are held"), func() bool { return int(f.list[0].held()) >= held })
		})
	}
}

// Events come at 2,000 a second while calls are decided: nobody waits for the endpoints that hang.
func TestEventsAtFullRateBesideDecisions(t *testing.T) {
	events, rate, by := 1500, 300.0, 2*time.Second
	if full {
		events, rate, by = 100_000, 2000, 20*time.Second
	}
	pbx := startAsker(t)
	r := newEventRig(t, true, pbx.hook)
	s := start(t, "store: bolt:"+filepath.Join(t.TempDir(), "hookswitch.db")+r.config)
	lookups := asking{
		Address: strings.TrimPrefix(s.URL, "http://"), Target: "/v1/route?caller=380501112233&callee=380442223344&callid={{callid}}",
		Want: `"source":"hook"`, Rate: 500,
	}
	ask := func(d time.Duration) asked {
		lookups.For = d
		return pbx.ask(lookups)
	}
	ask(time.Second) // connections are opened
	before := ask(by)
	var stopped atomic.Bool
	var driving sync.WaitGroup
	idle := s.cpu()
	driving.Go(func() { r.drive(events, rate, func() []string { return []string{s.URL} }, &stopped) })
	beside := ask(time.Duration(float64(events) / rate * float64(time.Second)))
	driving.Wait()
	spent := s.cpu() - idle
	after := ask(by)
	c := r.settle(3 * time.Minute)
	if beside.Answered != beside.Offered {
		t.Errorf("%d of %d decisions beside events were not the hook's: %s", beside.Offered-beside.Answered, beside.Offered, beside.Worst)
	}
	if c.accepted != events {
		t.Errorf("%d events were accepted; want all %d", c.accepted, events)
	}
	alone := before.with(after)
	slower := p99(beside.lookups()) / p99(alone.lookups())
	if full {
		c.meets(t)
		if slower > maxSlower {
			t.Errorf("the p99 of decisions beside events is %.2f times that alone; want %.1f times at most", slower, maxSlower)
		}
	}
	t.Logf("%d events at %.0f/s: %s", events, rate, c)
	t.Logf("ms                              p50       p99     p99.9       max")
	t.Logf("delay to healthy endpoints %s", c.delays)
	t.Logf("decisions alone           %s", line(alone.lookups()))
	t.Logf("decisions beside events   %s", line(beside.lookups()))
	t.Logf("the hook itself, alone    %s", line(alone.direct()))
	t.Logf("the hook, beside events   %s", line(beside.direct()))
	t.Logf("the caller itself was late by %.2f ms at most", milliseconds(beside.HeldUp))
	t.Logf("CPU of the service: %.0f us for each event, with the decisions beside it", 1000*milliseconds(spent)/float64(events))
	t.Logf("p99 of decisions beside events: %.2f times that alone; of the hook, which the service has no part in: %.2f times; the service: %s",
		slower, p99(beside.direct())/p99(alone.direct()), s.footprint())
	waitFor(t, 30*time.Second, "the endpoint that says 410 is disabled", func() bool {
		return s.metric(`hookswitch_webhook_disabled{project="1001",webhook="11"}`) == 1
	})
}
