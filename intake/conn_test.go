package intake

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A PBX that holds its connections open for minutes, and uses few of them, must not cost another's call.
func TestWhereTheHouseIsFullTheConnectionThatRestsLongestMakesRoom(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	s := start(t, func(o *Options) { o.Settings.MaxConns, o.Log = 3, zap.New(core) })
	ask := func(c net.Conn) string {
		fmt.Fprintf(c, "GET /v1/route?callee=1 HTTP/1.1\r\nHost: x\r\n\r\n")
		answer := readAnswer(t, c)
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.Status
	}
	oldest, used, silent := s.dial(t), s.dial(t), s.dial(t)
	ask(oldest)
	ask(used)
	for s.conns.count() < 3 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(restsLong / 2)
	ask(used)
	time.Sleep(restsLong/2 + 50*time.Millisecond)
	first, second := s.dial(t), s.dial(t)
	for name, c := range map[string]net.Conn{"a new one": first, "another": second, "one in use": used} {
		if status := ask(c); status != "200 OK" {
			t.Errorf("%s: %s; want 200", name, status)
		}
	}
	for name, c := range map[string]net.Conn{"the oldest": oldest, "one that has asked nothing": silent} {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: %d bytes, %v; want it closed in silence", name, n, err)
		}
	}
	if status := readAnswer(t, s.dial(t)).Status; status != "503 Service Unavailable" {
		t.Errorf("while none has rested long: %s; want 503", status)
	}
	if logs.Len() != 1 {
		t.Errorf("%d warnings; want one in a minute", logs.Len())
	}
}

// The next request may have come between a look at who rests and their end: it is answered, and the connection
// is an open one like others, so that draining waits for it.
func TestAConnectionThatWasEndedWhenItsNextRequestHadComeIsOpenAgain(t *testing.T) {
	l := &conns{limit: func() int { return 10 }, patience: time.Minute, idle: time.Minute, open: map[*conn]struct{}{}}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := l.admit(near)
	c.setState(fasthttp.StateActive)
	if c.endIfIdle() {
		t.Error("a connection with a request under way was ended")
	}
	c.setState(fasthttp.StateIdle)
	if !c.endIfIdle() {
		t.Error("an idle connection was not ended")
	}
	l.mu.Lock()
	delete(l.open, c)
	l.mu.Unlock()
	c.setState(fasthttp.StateActive)
	if l.count() != 1 {
		t.Errorf("%d connections are open; want the one whose request is being answered", l.count())
	}
	go func() { _, _ = far.Write([]byte("G")) }()
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the rest of the request: %d bytes, %v; want it read", n, err)
	}
	c.setState(fasthttp.StateIdle)
	c.setState(fasthttp.StateActive)
	if _ = c.Close(); l.count() != 0 {
		t.Errorf("%d connections are open after the last was closed", l.count())
	}
}

func TestConnectionsBeyondTheLimitAreTurnedAwayAndRoomIsFoundAgain(t *testing.T) {
	s := start(t, func(o *Options) { o.Settings.MaxConns = 2 })
	ask := func(c net.Conn) string {
		fmt.Fprintf(c, "GET /v1/route?callee=1 HTTP/1.1\r\nHost: x\r\n\r\n")
		return readAnswer(t, c).Status
	}
	one, two := s.dial(t), s.dial(t)
	for _, c := range []net.Conn{one, two} {
		if status := ask(c); status != "200 OK" {
			t.Fatalf("within the limit: %s", status)
		}
	}
	answer := readAnswer(t, s.dial(t))
	body, _ := io.ReadAll(answer.Body)
	if code, _ := errorOf(t, string(body)); answer.StatusCode != 503 || code != "overloaded" {
		t.Errorf("over the limit: %s %s; want 503, overloaded", answer.Status, body)
	}
	_ = one.Close()
	for s.conns.count() > 1 {
		time.Sleep(time.Millisecond)
	}
	if status := ask(s.dial(t)); status != "200 OK" {
		t.Errorf("after one left: %s; want 200", status)
	}
}
