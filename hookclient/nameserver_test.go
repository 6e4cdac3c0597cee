package hookclient

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is a DNS server of the test's own, on a UDP port of 127.0.0.1.
type nameServer struct {
	addr string

	mu     sync.Mutex // guards what follows
	answer zone
	asked  int
}

// zone answers the n-th question, from 1, of one kind: with addresses, of which there may be none,
// with nil where the name does not exist, or, where it is not to be answered, not at all.
type zone func(name string, kind dnsmessage.Type, n int) (addrs []string, answered bool)

// hosts is a zone of fixed names, which have IPv4 addresses only.
func hosts(names map[string][]string) zone {
	return func(name string, kind dnsmessage.Type, _ int) ([]string, bool) {
		addrs := names[name]
		if kind != dnsmessage.TypeA {
			return addrs[:0], true
		}
		return addrs, true
	}
}

// unanswering is a name server that hangs.
func unanswering(string, dnsmessage.Type, int) ([]string, bool) { return nil, false }

func newNameServer(t testing.TB, answer zone) *nameServer {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{addr: c.LocalAddr().String(), answer: answer}
	var running sync.WaitGroup
	running.Go(func() { s.serve(c) })
	t.Cleanup(func() { c.Close(); running.Wait() })
	return s
}

// become makes the server answer otherwise from now on.
func (s *nameServer) become(answer zone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// questions is how many questions have come.
func (s *nameServer) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *nameServer) serve(c net.PacketConn) {
	var packet [512]byte
	counts := map[dnsmessage.Type]int{}
	for {
		n, from, err := c.ReadFrom(packet[:])
		if err != nil {
			return
		}
		var question dnsmessage.Message
		if question.Unpack(packet[:n]) != nil || len(question.Questions) != 1 {
			continue
		}
		q := question.Questions[0]
		counts[q.Type]++
		s.mu.Lock()
		s.asked++
		addrs, answered := s.answer(strings.TrimSuffix(q.Name.String(), "."), q.Type, counts[q.Type])
		s.mu.Unlock()
		if answered {
			c.WriteTo(reply(question.ID, q, addrs), from)
		}
	}
}

func reply(id uint16, q dnsmessage.Question, addrs []string) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, Response: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	if addrs == nil {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addrs {
		r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}}
		switch addr := netip.MustParseAddr(a); {
		case addr.Is4():
			r.Body = &dnsmessage.AResource{A: addr.As4()}
		default:
			r.Body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
		}
		m.Answers = append(m.Answers, r)
	}
	packed, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return packed
}
