package load

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// server answers with its own count of call ids seen, and fails where a number asks for it.
type server struct {
	mu   sync.Mutex // guards seen
	seen map[string]int
	conn map[string]int
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen[r.FormValue("id")]++
	s.conn[r.RemoteAddr]++
	s.mu.Unlock()
	if strings.HasSuffix(r.FormValue("to"), "9") {
		http.Error(w, "no", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Length", "33")
	_, _ = w.Write([]byte(`{"dst_phone":"1","reason":"fine"}`))
}

// counts returns how many call ids and connections there were.
func (s *server) counts() (callIDs, conns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen), len(s.conn)
}

func serve(t *testing.T) (*server, string) {
	s := &server{seen: map[string]int{}, conn: map[string]int{}}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, strings.TrimPrefix(h.URL, "http://")
}

func stream100(addr string) Stream {
	pace := Steady(1000, 100*time.Millisecond)
	return Stream{Name: "s", Addr: addr, Template: Get(addr, "/?id={{callid}}&to={{callee}}"), Callee: Always(1),
		Pace: &pace, Connections: 8, Want: []byte("dst_phone"), Reasons: true}
}

func run(t *testing.T, s Stream, events ...func(*Generator) Event) Result {
	t.Helper()
	g, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var list []Event
	for _, e := range events {
		list = append(list, e(g))
	}
	r := g.Run(100*time.Millisecond, 10*time.Millisecond, list...)[0]
	if r.Offered != r.Answered+r.Refused+r.Lost {
		t.Errorf("offered %d, answered %d, refused %d, lost %d: they don't add up", r.Offered, r.Answered, r.Refused, r.Lost)
	}
	return r
}

func TestEverySendOfAPlanIsAnsweredAndCounted(t *testing.T) {
	s, addr := serve(t)
	r := run(t, stream100(addr))
	if r.Offered != 100 || r.Answered != 100 || r.Reasons["fine"] != 100 || r.Latency.TotalCount() != 100 {
		t.Errorf("got %d offered, %d answered, reasons %v; want 100 of each; the last fault: %s", r.Offered, r.Answered, r.Reasons, r.Worst)
	}
	count := int64(0)
	for _, b := range r.Timeline {
		count += b.Count
	}
	if ids, conns := s.counts(); ids != 100 || count != 100 || conns != 8 {
		t.Errorf("the server saw %d call ids on %d connections, the time line holds %d; want 100 on 8, and 100", ids, conns, count)
	}
}

func TestAConnectionForEachRequest(t *testing.T) {
	s, addr := serve(t)
	stream := stream100(addr)
	stream.PerRequest = true
	r := run(t, stream)
	if _, conns := s.counts(); r.Answered != 100 || conns != 100 {
		t.Errorf("got %d answers on %d connections; want 100 on 100: %s", r.Answered, conns, r.Worst)
	}
}

func TestAClosedLoopAsksAgainAsSoonAsItIsAnswered(t *testing.T) {
	s, addr := serve(t)
	stream := stream100(addr)
	stream.Pace, stream.Connections = nil, 2
	r := run(t, stream)
	if ids, conns := s.counts(); r.Answered < 10 || r.Lost > 0 || conns != 2 || uint64(ids) != r.Answered {
		t.Errorf("got %d answers, %d lost, %d connections, %d call ids", r.Answered, r.Lost, conns, ids)
	}
}

func TestReconnectingLosesNothing(t *testing.T) {
	s, addr := serve(t)
	r := run(t, stream100(addr), func(g *Generator) Event { return Event{50 * time.Millisecond, g.Reconnect} })
	if _, conns := s.counts(); r.Answered != 100 || conns < 16 {
		t.Errorf("got %d answers on %d connections; want 100 on 16: %s", r.Answered, conns, r.Worst)
	}
}

func TestABadAnswerIsRefusedAndNotAnswered(t *testing.T) {
	_, addr := serve(t)
	stream := stream100(addr)
	stream.Callee = Always(9)
	if r := run(t, stream); r.Refused != 100 || !strings.Contains(r.Worst, "502") {
		t.Errorf("got %d refused, the last %q; want 100 with status 502", r.Refused, r.Worst)
	}
	stream.Callee, stream.Want = Always(1), []byte("something else")
	if r := run(t, stream); r.Refused != 100 {
		t.Errorf("got %d refused; want 100 without what was wanted", r.Refused)
	}
}

func TestAServerThatGoesLosesWhatWasSentToIt(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer h.Close()
	if r := run(t, stream100(strings.TrimPrefix(h.URL, "http://"))); r.Lost != 100 || r.Worst == "" {
		t.Errorf("got %d lost; want 100, and why", r.Lost)
	}
}

func TestASilentServerIsGivenUp(t *testing.T) {
	quit := make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-quit }))
	defer h.Close()
	defer close(quit)
	stream := stream100(strings.TrimPrefix(h.URL, "http://"))
	stream.Patience = 50 * time.Millisecond
	if r := run(t, stream); r.Lost != 100 {
		t.Errorf("got %d lost; want 100, those that found no connection among them", r.Lost)
	}
}

// A stall counts for every send that was due during it, though only one was on its way.
func TestAStallCountsFromThePlannedMoment(t *testing.T) {
	first := true
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if first { // one connection: no two requests at once
			first = false
			time.Sleep(60 * time.Millisecond)
		}
		w.Header().Set("Content-Length", "9")
		_, _ = w.Write([]byte("dst_phone"))
	}))
	defer h.Close()
	stream := stream100(strings.TrimPrefix(h.URL, "http://"))
	stream.Connections = 1
	r := run(t, stream)
	if late := Percentile(r.Latency, 70); r.Answered != 100 || late < 10*time.Millisecond {
		t.Errorf("%d answers, the 70th percentile %v; want 100, and the stall of 60 ms in more than a third of them", r.Answered, late)
	}
}

func TestAStreamThatCannotBeIsRefused(t *testing.T) {
	for _, s := range []Stream{{Addr: "localhost:80", Connections: 1}, {Addr: "127.0.0.1", Connections: 1}, {Addr: "127.0.0.1:80"}, {Addr: "127.0.0.1:1", Connections: 1}} {
		if g, err := Open(s); err == nil {
			g.Close()
			t.Errorf("%+v is taken", s)
		}
	}
}
