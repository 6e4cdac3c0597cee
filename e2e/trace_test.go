package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"hookswitch/bench/hooksim"
)

// The PBX's trace, in W3C Trace Context's form.
const (
	pbxTrace       = "4bf92f3577b34da6a3ce929d0e0e4736"
	pbxSpan        = "00f067aa0ba902b7"
	pbxTraceparent = "00-" + pbxTrace + "-" + pbxSpan + "-01"
)

func TestTheTraceparentIsPassedOnToTheWebhook(t *testing.T) {
	hook, heard := startListeningHook(t)
	s := start(t, fmt.Sprintf(observedProject, hook, ""))
	for _, tc := range []struct{ name, sent, want string }{
		{"as the PBX sent it", pbxTraceparent, pbxTraceparent},
		{"none where it sent none", "", ""},
		{"none where it makes no sense", "00-nonsense", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.routeTraced(tc.sent)
			if got := <-heard; got != tc.want {
				t.Errorf("the webhook got traceparent %q; want %q", got, tc.want)
			}
		})
	}
}

func TestASpanOfEachDecisionReachesTheCollector(t *testing.T) {
	hook, heard := startListeningHook(t)
	collector := startCollector(t)
	s := start(t, fmt.Sprintf(observedProject, hook, fmt.Sprintf(`tracing: {endpoint: "%s", headers: {X-Key: "of the collector"}}`, collector.URL)))

	d := s.routeTraced(pbxTraceparent)
	child := strings.Split(<-heard, "-")
	if len(child) != 4 || child[0] != "00" || child[1] != pbxTrace || child[2] == pbxSpan || child[3] != "01" {
		t.Errorf("the webhook got traceparent %q; want a child of %s in the same trace", child, pbxTraceparent)
	}
	own := s.routeTraced("")
	fresh := strings.Split(<-heard, "-")
	s.routeTraced("00-" + pbxTrace + "-" + pbxSpan + "-00")
	<-heard
	s.signal(syscall.SIGTERM) // which sends what is waiting
	s.wantExit(0, 10*time.Second)

	if path, key := collector.path, collector.key; path != "/v1/traces" || key != "of the collector" {
		t.Errorf("the spans went to %s with X-Key %q; want OTLP's own path, and the configured header", path, key)
	}
	spans := collector.spans
	if len(spans) != 2 {
		t.Fatalf("got %d spans of 3 decisions, of which the PBX samples one not; want 2: %v", len(spans), spans)
	}
	for i, want := range []struct{ trace, parent, span, decision string }{
		{pbxTrace, pbxSpan, child[2], d.DecisionID},
		{fresh[1], "", fresh[2], own.DecisionID},
	} {
		got := spans[i]
		attributes := map[string]string{}
		for _, a := range got.Attributes {
			attributes[a.Key] = a.Value.GetStringValue()
		}
		if fmt.Sprintf("%x", got.TraceId) != want.trace || fmt.Sprintf("%x", got.ParentSpanId) != want.parent || fmt.Sprintf("%x", got.SpanId) != want.span {
			t.Errorf("span %d: got trace %x, parent %x, span %x; want %s, %q, %s", i, got.TraceId, got.ParentSpanId, got.SpanId, want.trace, want.parent, want.span)
		}
		if attributes["hookswitch.decision_id"] != want.decision || attributes["hookswitch.reason"] != "ok" || attributes["hookswitch.hook"] != "crm" {
			t.Errorf("span %d: got attributes %v; want decision %s, reason ok, hook crm", i, attributes, want.decision)
		}
		if len(got.Events) != 1 || got.EndTimeUnixNano <= got.StartTimeUnixNano {
			t.Errorf("span %d: got %d events, %d ns; want one, of the request to the webhook, and a duration", i, len(got.Events), got.EndTimeUnixNano-got.StartTimeUnixNano)
		}
	}
}

func TestACollectorThatIsGoneHoldsNothingUp(t *testing.T) {
	hook := startSim(t, hooksim.Options{})
	s := start(t, fmt.Sprintf(observedProject, hook.URL(), fmt.Sprintf(`tracing: {endpoint: "http://%s"}`, refusingAddress(t))))
	for range 10 {
		if d, status := s.route(call("380442223344")); status != 200 || d.Source != "hook" {
			t.Errorf("got %d %+v; want the hook's answer", status, d)
		}
	}
	s.signal(syscall.SIGTERM)
	s.wantExit(0, 10*time.Second)
	for line := range strings.Lines(s.log.all()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is not JSON: %s", line)
		}
	}
}

// collector receives OTLP over HTTP, and keeps what it got.
type collector struct {
	*httptest.Server
	mu        sync.Mutex // guards the rest, until the service has ended
	path, key string
	spans     []*tracepb.Span // by the time of their beginning
}

func startCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		body, err := io.ReadAll(r.Body)
		var batch coltracepb.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &batch)
		}
		if err != nil {
			t.Errorf("the collector can't read a request of type %s: %v", r.Header.Get("Content-Type"), err)
		}
		c.path, c.key = r.URL.Path, r.Header.Get("X-Key")
		for _, resource := range batch.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
		slices.SortFunc(c.spans, func(a, b *tracepb.Span) int { return int(int64(a.StartTimeUnixNano - b.StartTimeUnixNano)) })
	}))
	t.Cleanup(c.Close)
	return c
}

// startListeningHook serves a webhook that tells the traceparent of each request.
func startListeningHook(t *testing.T) (address string, heard chan string) {
	heard = make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard <- r.Header.Get("traceparent")
		fmt.Fprint(w, `{"dst_phone":"380441111111"}`)
	}))
	t.Cleanup(hook.Close)
	return hook.URL, heard
}

// routeTraced asks for a decision by the hook, as part of the PBX's own trace unless traceparent is
// empty.
func (s *service) routeTraced(traceparent string) decision {
	s.t.Helper()
	req, err := http.NewRequest("GET", s.URL+"/v1/route?"+call("380442223344").Encode(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if traceparent != "" {
		req.Header.Set("traceparent", traceparent)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var d decision
	if err := json.NewDecoder(resp.Body).Decode(&d); err != nil || d.Source != "hook" {
		s.t.Fatalf("got %+v, %v; want the hook's answer", d, err)
	}
	return d
}
