package hookclient

import (
	"net"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hookswitch/schema"
)

// named returns a URL at w's port under a name.
func named(t testing.TB, w *webhook, name string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + name + ":" + port
}

// answering is a webhook that gives the good answer.
func answering(t testing.TB) *webhook {
	return newWebhook(t, nil, answersWell)
}

// forget lets go of the hook's connections, so that its next request makes a new one.
func forget(h *Hook) { h.Close() }

// outdate makes the hook ask for its address again the next time that it connects.
func outdate(h *Hook) {
	forget(h)
	d := h.primary.dialer
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known.askAgain = time.Time{}
}

func TestANameThatCannotBeResolvedIsADNSErrorInTime(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer zone
		want   string
	}{
		{"it does not exist", hosts(nil), "resolve crm.example: no such host"},
		{"the name server never answers", unanswering, "resolve crm.example: no name server answered in time"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leavesNothing(t)
			h := prepare(t, New([]string{newNameServer(t, tc.answer).addr}), "http://crm.example/", nil)
			began := time.Now()
			a := ask(h, 400*time.Millisecond)
			if took := time.Since(began); took > 4*time.Second { // Go's own resolver gives up after five
				t.Errorf("took %v", took)
			}
			wantFailure(t, a, schema.ReasonDNSError, tc.want)
		})
	}
}

func TestANameIsResolvedDespite(t *testing.T) {
	here := hosts(map[string][]string{"crm.example": {"127.0.0.1"}})
	refusingServer := func() string {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.LocalAddr().String()
	}
	for _, tc := range []struct {
		name    string
		servers func(t *testing.T) []string
	}{
		{"a question for IPv6 that is never answered", func(t *testing.T) []string {
			return []string{newNameServer(t, func(name string, kind dnsmessage.Type, n int) ([]string, bool) {
				addrs, _ := here(name, kind, n)
				return addrs, kind == dnsmessage.TypeA
			}).addr}
		}},
		{"the loss of the first packets", func(t *testing.T) []string {
			return []string{newNameServer(t, func(name string, kind dnsmessage.Type, n int) ([]string, bool) {
				addrs, _ := here(name, kind, n)
				return addrs, n > 1
			}).addr}
		}},
		{"a first name server that hangs", func(t *testing.T) []string {
			return []string{newNameServer(t, unanswering).addr, newNameServer(t, here).addr}
		}},
		{"a first name server that is down", func(t *testing.T) []string {
			return []string{refusingServer(), newNameServer(t, here).addr}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leavesNothing(t)
			w := answering(t)
			// Less than the five seconds after which Go's own resolver asks again.
			wantOK(t, ask(prepare(t, New(tc.servers(t)), named(t, w, "crm.example"), nil), 4*time.Second))
		})
	}
}

func TestADeadAddressBesideALiveOneCostsNoCall(t *testing.T) {
	for _, tc := range []struct {
		name string
		dead func(t *testing.T, port int)
	}{
		{"nobody listens there", func(*testing.T, int) {}},
		{"it does not answer", func(t *testing.T, port int) { blackHole(t, [4]byte{127, 0, 0, 2}, port) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leavesNothing(t)
			w := answering(t)
			tc.dead(t, portOf(t, w))
			names := newNameServer(t, hosts(map[string][]string{"crm.example": {"127.0.0.2", "127.0.0.1"}}))
			h := prepare(t, New([]string{names.addr}), named(t, w, "crm.example"), post)
			a := ask(h, patience)
			if wantOK(t, a); len(a.Attempts) != 1 {
				t.Errorf("%d attempts; want 1", len(a.Attempts))
			}
		})
	}
}

func TestTheAddressThatAnsweredIsTriedFirstTheNextTime(t *testing.T) {
	w := answering(t)
	names := newNameServer(t, hosts(map[string][]string{"crm.example": {"127.0.0.2", "127.0.0.1"}}))
	h := prepare(t, New([]string{names.addr}), named(t, w, "crm.example"), post)
	wantOK(t, ask(h, patience))
	// From here on, a try at the first address would land, and be seen.
	back := serve(t, listen(t, net.JoinHostPort("127.0.0.2", strconv.Itoa(portOf(t, w)))), nil, answersWell)
	forget(h)
	wantOK(t, ask(h, patience))
	outdate(h) // the name server still names the other one first
	wantOK(t, ask(h, patience))
	if back.connections() != 0 || w.requests() != 3 {
		t.Errorf("%d connections to the address that was dead, %d requests to the other; want 0 and 3", back.connections(), w.requests())
	}
}

func TestAnOldResolutionStandsInForANameServerThatHangs(t *testing.T) {
	leavesNothing(t)
	w := answering(t)
	names := newNameServer(t, hosts(map[string][]string{"crm.example": {"127.0.0.1"}}))
	h := prepare(t, New([]string{names.addr}), named(t, w, "crm.example"), nil)
	wantOK(t, ask(h, patience))
	names.become(unanswering)
	outdate(h)
	wantOK(t, ask(h, 3*time.Second))
	// A name server that has just failed isn't waited for by the next call as well.
	asked := names.questions()
	forget(h)
	wantOK(t, ask(h, 3*time.Second))
	if names.questions() != asked {
		t.Error("the name server was asked again at once")
	}
}

func TestANameThatIsGoneIsNotDialledAnyMore(t *testing.T) {
	w := answering(t)
	names := newNameServer(t, hosts(map[string][]string{"crm.example": {"127.0.0.1"}}))
	h := prepare(t, New([]string{names.addr}), named(t, w, "crm.example"), nil)
	wantOK(t, ask(h, patience))
	names.become(hosts(nil))
	outdate(h)
	wantFailure(t, ask(h, patience), schema.ReasonDNSError, "no such host")
}

func TestAnAddressThatChangesIsFollowed(t *testing.T) {
	w := answering(t)
	moved := serve(t, listen(t, net.JoinHostPort("127.0.0.3", strconv.Itoa(portOf(t, w)))), nil, answersWell)
	names := newNameServer(t, hosts(map[string][]string{"crm.example": {"127.0.0.1"}}))
	h := prepare(t, New([]string{names.addr}), named(t, w, "crm.example"), nil)
	wantOK(t, ask(h, patience))
	names.become(hosts(map[string][]string{"crm.example": {"127.0.0.3"}}))
	outdate(h)
	wantOK(t, ask(h, patience))
	if w.requests() != 1 || moved.requests() != 1 {
		t.Errorf("%d requests to the old address, %d to the new; want 1 and 1", w.requests(), moved.requests())
	}
}

func TestANameIsNotResolvedForEachConnection(t *testing.T) {
	w := answering(t)
	names := newNameServer(t, hosts(map[string][]string{"crm.example": {"127.0.0.1"}}))
	h := prepare(t, New([]string{names.addr}), named(t, w, "crm.example"), nil)
	for range 5 {
		wantOK(t, ask(h, patience))
		forget(h)
	}
	if names.questions() > 4 { // each family once, or twice on a busy machine
		t.Errorf("%d questions for 5 connections", names.questions())
	}
}
