package intake

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hookswitch/schema"
)

func TestADrippingClientIsCutWhileOthersAreServed(t *testing.T) {
	s := start(t, func(o *Options) { o.Settings.ReadTimeout = 300 * time.Millisecond })
	const keepAlive = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, c := range []struct{ name, first, drip string }{
		{"its first header", "", "GET /v1/route?callee=1 HTTP/1.1\r\nX-Drip: "},
		{"a later header", keepAlive, "GET /v1/route?callee=1 HTTP/1.1\r\nX-Drip: "},
		{"a body", "", "POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"},
		{"a later body", keepAlive, "POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := s.dial(t)
			if c.first != "" {
				_, _ = io.WriteString(conn, c.first)
				_, _ = io.ReadAll(readAnswer(t, conn).Body)
			}
			began := time.Now()
			_, _ = io.WriteString(conn, c.drip)
			stop := make(chan struct{})
			var dripping sync.WaitGroup
			dripping.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						_, _ = io.WriteString(conn, "x")
					}
				}
			})
			if answer, _ := s.do(t, "GET", "/v1/route?callee=1", ""); answer.StatusCode != 200 {
				t.Errorf("another client meanwhile: %d", answer.StatusCode)
			}
			answer := readAnswer(t, conn) // the connection's own deadline fails the test, not a stopwatch
			if answer.StatusCode != 408 || !answer.Close {
				t.Errorf("%s, close %v; want 408 and Connection: close", answer.Status, answer.Close)
			}
			if took := time.Since(began); took < 200*time.Millisecond {
				t.Errorf("cut after %v, long before read_timeout", took)
			}
			close(stop)
			dripping.Wait()
		})
	}
}

func TestAnIdleConnectionOutlivesTheReadTimeout(t *testing.T) {
	s := start(t, func(o *Options) { o.Settings.ReadTimeout = 100 * time.Millisecond })
	conn := s.dial(t)
	for range 2 {
		fmt.Fprintf(conn, "GET /v1/route?callee=1 HTTP/1.1\r\nHost: x\r\n\r\n")
		answer := readAnswer(t, conn)
		_, _ = io.ReadAll(answer.Body)
		if answer.StatusCode != 200 || answer.Close {
			t.Fatalf("%s, close %v; want 200 and the connection kept", answer.Status, answer.Close)
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// pausing is a Decider that decides nothing until it is let go.
type pausing struct{ arrived, letGo chan struct{} }

func (p *pausing) Decide(c *schema.Call, d *schema.Decision) {
	p.arrived <- struct{}{}
	<-p.letGo
	decideOK(c, d)
}

func TestADrainAnswersEveryCallInFlightAndClosesTheRest(t *testing.T) {
	const inFlight = 20
	p := &pausing{make(chan struct{}, inFlight), make(chan struct{})}
	s := start(t, func(o *Options) { o.Decide = p })

	idle, busy := s.dial(t), s.dial(t)
	fmt.Fprintf(idle, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
	if answer := readAnswer(t, idle); answer.StatusCode != 200 {
		t.Fatalf("/readyz before: %s", answer.Status)
	}
	fmt.Fprintf(busy, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
	_, _ = io.ReadAll(readAnswer(t, busy).Body)

	answers := make(chan *http.Response, inFlight+1)
	read := func(conn net.Conn) {
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("a question in flight got no answer: %v", err)
		}
		answers <- answer
	}
	for range inFlight {
		conn := s.dial(t)
		fmt.Fprintf(conn, "GET /v1/route?callee=1 HTTP/1.1\r\nHost: x\r\n\r\n")
		go read(conn)
	}
	for range inFlight {
		<-p.arrived
	}
	// One is in the midst of sending its question.
	slow := s.dial(t)
	fmt.Fprintf(slow, "POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\ncall")
	for s.conns.countBusy() < inFlight+1 {
		time.Sleep(time.Millisecond)
	}

	drained := make(chan error, 1)
	go func() { drained <- s.Shutdown(t.Context()) }()
	for !s.draining.Load() {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // some sweeps, well within quietTime
	// A connection that is used soon after the drain began is still answered, and told.
	fmt.Fprintf(busy, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
	if answer := readAnswer(t, busy); answer.StatusCode != 503 || !answer.Close {
		t.Errorf("/readyz while draining: %s, close %v; want 503 and Connection: close", answer.Status, answer.Close)
	}
	// An idle one is closed without a word, though calls are still in flight.
	if n, err := idle.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection read %d, %v; want its end", n, err)
	}
	if c, err := net.Dial("tcp", s.addr); err == nil {
		_ = c.Close()
		t.Error("a connection was accepted while draining")
	}
	// By now the idle are swept; the question half sent is still read, and decided.
	fmt.Fprint(slow, "ee=1")
	go read(slow)
	select {
	case <-p.arrived:
	case <-answers:
		t.Fatal("the question half sent was cut off")
	}
	select {
	case err := <-drained:
		t.Fatalf("the drain ended with calls in flight: %v", err)
	default:
	}
	close(p.letGo)
	for range inFlight + 1 {
		answer := <-answers
		if answer == nil {
			continue
		}
		body, err := io.ReadAll(answer.Body)
		if answer.StatusCode != 200 || !answer.Close || err != nil || !strings.Contains(string(body), "380441111111") {
			t.Errorf("in flight: %s, close %v, %q (%v); want its decision and Connection: close", answer.Status, answer.Close, body, err)
		}
	}
	if err := <-drained; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// countBusy counts the connections that are within a request.
func (l *conns) countBusy() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.mu.Lock()
		if c.busy {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

func TestADrainThatRunsOutOfTimeClosesWhatIsLeft(t *testing.T) {
	p := &pausing{make(chan struct{}, 1), make(chan struct{})}
	s := start(t, func(o *Options) { o.Decide = p })
	conn := s.dial(t)
	fmt.Fprintf(conn, "GET /v1/route?callee=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	<-p.arrived
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "closed 1 connections") {
		t.Errorf("Shutdown: %v; want the deadline, and that 1 connection was closed", err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection read %d, %v; want it closed", n, err)
	}
	close(p.letGo)
}

func TestADrainUnderLoadLosesNoDecision(t *testing.T) {
	s := start(t)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for {
				r, _ := http.NewRequest("POST", "http://"+s.addr+"/v1/route", strings.NewReader("callee=1"))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.GetBody = nil // so that the client can't ask again by itself
				answer, err := client.Do(r)
				var refused *net.OpError
				if errors.As(err, &refused) && refused.Op == "dial" {
					return // the listener is closed: nothing was lost
				}
				if err != nil {
					t.Errorf("a lookup was lost: %v", err)
					return
				}
				body, err := io.ReadAll(answer.Body)
				_ = answer.Body.Close()
				if err != nil || answer.StatusCode != 200 || len(body) == 0 {
					t.Errorf("a lookup was lost: %s, %d bytes, %v", answer.Status, len(body), err)
				}
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	asking.Wait()
}

// exhausted is a listener of a process that has run out of file descriptors, for a while.
type exhausted struct {
	net.Listener
	failures int
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

func TestServeOutlivesALackOfFileDescriptors(t *testing.T) {
	s, err := New(Options{Decide: decideFunc(decideOK), Settings: testSettings()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(&exhausted{ln, 3}) }()
	conn := (&site{s, ln.Addr().String()}).dial(t)
	fmt.Fprintf(conn, "GET /v1/route?callee=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	if answer := readAnswer(t, conn); answer.StatusCode != 200 {
		t.Errorf("after the failures: %s", answer.Status)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeAfterShutdownClosesItsListener(t *testing.T) {
	s, err := New(Options{Decide: decideFunc(decideOK), Settings: testSettings()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(ln); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener: %v; want it closed", err)
	}
}

func TestAConnectionOnWhichNothingWasAskedIsClosedWithoutAWord(t *testing.T) {
	s := start(t, func(o *Options) { o.Settings.ReadTimeout = 100 * time.Millisecond })
	said, err := io.ReadAll(s.dial(t))
	if err != nil || len(said) != 0 {
		t.Errorf("got %q, %v; want an end of file alone", said, err)
	}
}
