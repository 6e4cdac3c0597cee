package e2e

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// trunkProbe is both ends of a proxy, the one who calls and the one who is called, so that one clock
// sees a call go in and come out. The one called is always busy. SIPp's own clock has a grain of 4 ms.
type trunkProbe struct {
	caller, called net.PacketConn

	mu    sync.Mutex // guards all below, by call id
	sent  map[string]time.Time
	took  map[string]time.Duration
	final map[string]string // the last status line of the proxy
}

func startTrunkProbe(t *testing.T) *trunkProbe {
	t.Helper()
	p := &trunkProbe{sent: map[string]time.Time{}, took: map[string]time.Duration{}, final: map[string]string{}}
	for _, conn := range []*net.PacketConn{&p.caller, &p.called} {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*conn = c
		t.Cleanup(func() { c.Close() })
	}
	go p.each(p.called, p.refuse)
	go p.each(p.caller, p.acknowledge)
	return p
}

// each has every message that comes to c handled, until c is closed.
func (p *trunkProbe) each(c net.PacketConn, handle func(message []byte, from net.Addr, at time.Time)) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		handle(buf[:n], from, time.Now())
	}
}

// refuse notes when an INVITE came out of the proxy, and is busy.
func (p *trunkProbe) refuse(message []byte, proxy net.Addr, at time.Time) {
	if !bytes.HasPrefix(message, []byte("INVITE ")) {
		return // the ACK
	}
	id := callID(message)
	p.mu.Lock()
	if sent, ok := p.sent[id]; ok && p.took[id] == 0 {
		p.took[id] = at.Sub(sent)
	}
	p.mu.Unlock()
	reply := "SIP/2.0 486 Busy Here\r\n" + headers(message, "Via:") + headers(message, "From:") +
		headers(message, "To:") + headers(message, "Call-ID:") + headers(message, "CSeq:") + "Content-Length: 0\r\n\r\n"
	_, _ = p.called.WriteTo([]byte(reply), proxy)
}

// acknowledge ends the call, else the proxy would go on sending its reply.
func (p *trunkProbe) acknowledge(message []byte, proxy net.Addr, _ time.Time) {
	if bytes.HasPrefix(message, []byte("SIP/2.0 1")) {
		return
	}
	status, _, _ := bytes.Cut(message, []byte("\r\n"))
	p.mu.Lock()
	p.final[callID(message)] = string(status)
	p.mu.Unlock()
	ack := "ACK sip:380442220001@" + proxy.String() + " SIP/2.0\r\n" + headers(message, "Via:") + headers(message, "From:") +
		headers(message, "To:") + headers(message, "Call-ID:") + "CSeq: 1 ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
	_, _ = p.caller.WriteTo([]byte(ack), proxy)
}

// headers returns the lines of a message that begin with name.
func headers(message []byte, name string) string {
	var lines []byte
	for line := range bytes.Lines(message) {
		if bytes.HasPrefix(line, []byte(name)) {
			lines = append(lines, line...)
		}
	}
	return string(lines)
}

func callID(message []byte) string {
	return strings.TrimSpace(strings.TrimPrefix(headers(message, "Call-ID:"), "Call-ID:"))
}

// invite sends an INVITE to callee from the address in a From header.
func (p *trunkProbe) invite(t *testing.T, proxy, callee, from, id string) {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	own := p.caller.LocalAddr()
	invite := fmt.Sprintf("INVITE sip:%[1]s@%[2]s SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s;branch=z9hG4bK-%[4]s\r\n"+
		"From: %[5]s;tag=%[4]s\r\nTo: <sip:%[1]s@%[2]s>\r\nCall-ID: %[4]s\r\nCSeq: 1 INVITE\r\n"+
		"Contact: <sip:probe@%[3]s>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", callee, proxy, own, id, from)
	if _, err := p.caller.WriteTo([]byte(invite), to); err != nil {
		t.Fatal(err)
	}
}

// ask makes one call and returns the status line that ends it.
func (p *trunkProbe) ask(t *testing.T, proxy, callee, from, id string) (status string) {
	t.Helper()
	p.invite(t, proxy, callee, from, id)
	waitFor(t, 5*time.Second, "the call "+id+" ends", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		status = p.final[id]
		return status != ""
	})
	return status
}

// call makes n calls through the proxy at rate a second, open loop, and returns how long each took to
// come out of it. All must.
func (p *trunkProbe) call(t *testing.T, proxy string, n int, rate float64) latencies {
	t.Helper()
	begin := time.Now().Add(10 * time.Millisecond)
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("probe-%d-%d", begin.UnixNano(), i)
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		sleepUntil(due)
		p.mu.Lock()
		p.sent[ids[i]] = due
		p.mu.Unlock()
		p.invite(t, proxy, toOneNumber, "<sip:380501112233@127.0.0.1>", ids[i])
	}
	var l latencies
	waitFor(t, 10*time.Second, "every call comes out of the proxy", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		l = l[:0]
		for _, id := range ids {
			if took, ok := p.took[id]; ok {
				l = append(l, took)
			}
		}
		return len(l) == n
	})
	slices.Sort(l)
	return l
}

// TestSetupDelayOfKamailioWithAndWithoutHookswitch reports what asking costs a call: from the INVITE's
// way into Kamailio to its way out. It fails where a call is lost; the figures are for the reader.
func TestSetupDelayOfKamailioWithAndWithoutHookswitch(t *testing.T) {
	needSIP(t)
	rounds, calls := 2, 100
	if full {
		rounds, calls = 10, 200
	}
	const rate = 100
	probe := startTrunkProbe(t)
	trunk := probe.called.LocalAddr().String()
	hook := startNumberHook(t)
	s := start(t, fmt.Sprintf(kamailioProject, hook.URL, trunk, trunk, trunk))
	type way struct {
		name, proxy string
		l           latencies
	}
	var ways []way
	for _, w := range []struct{ name, config, define string }{
		{"without hookswitch", simpleKamailio, "STATIC"},
		{"a connection a lookup", shippedKamailio, "PLAIN"},
		{"kept connections", shippedKamailio, "WITH_KEEPALIVE"},
	} {
		proxy, _ := startKamailio(t, w.config, s.URL, trunk, "-A", w.define)
		ways = append(ways, way{name: w.name, proxy: proxy})
	}
	for range rounds { // interleaved, so that what else the machine does meets all three
		for i := range ways {
			ways[i].l = append(ways[i].l, probe.call(t, ways[i].proxy, calls, rate)...)
		}
	}
	t.Logf("%d calls each at %d/s, hook that answers at once; INVITE in to INVITE out, p50, p99, p99.9, max in ms", rounds*calls, rate)
	for _, way := range ways {
		slices.Sort(way.l)
		t.Logf("%-22s %s", way.name, way.l)
	}
	if asked, _ := hook.counts(); len(asked) != 2*rounds*calls {
		t.Errorf("the hook was asked about %d calls; want %d, those that were not routed statically", len(asked), 2*rounds*calls)
	}
}
