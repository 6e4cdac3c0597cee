package hookclient

import (
	"errors"
	"testing"
	"time"
)

func TestThePool(t *testing.T) {
	leavesNothing(t)
	w := answering(t)
	d, err := newDialer(w.addr, nil, guard(true), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := newPool(d, 2)
	take := func() *conn {
		t.Helper()
		now := time.Now()
		c, err := p.take(now.Add(patience))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, second := take(), take()
	if _, err := p.take(time.Now().Add(patience)); !errors.Is(err, errNoFreeConns) {
		t.Errorf("a connection too many: %v", err)
	}
	p.put(first, time.Now())
	p.put(second, time.Now())
	if take() != second || take() != first {
		t.Error("the connection used last is not used first")
	}
	p.drop(first)
	if third := take(); third == first || third == second {
		t.Error("a dropped connection is used again")
	} else {
		p.put(third, time.Now())
	}
	p.idle[0].used = time.Now().Add(-idleConn)
	p.put(second, time.Now())
	p.closeRested()
	if len(p.idle) != 1 || p.idle[0] != second || p.open != 1 {
		t.Errorf("%d idle of %d open connections; want the one that has not rested for long", len(p.idle), p.open)
	}
	last := take()
	p.close()
	p.put(last, time.Now())
	if p.open != 0 || len(p.idle) != 0 || p.sweep != nil {
		t.Errorf("closed, the pool holds %d idle of %d open connections", len(p.idle), p.open)
	}
}

func TestARestedConnectionIsClosedInTheBackground(t *testing.T) {
	leavesNothing(t)
	w := answering(t)
	h := prepare(t, New(nil), "http://"+w.addr, nil)
	wantOK(t, ask(h, patience))
	p := h.primary.pool
	p.mu.Lock()
	p.idle[0].used = time.Now().Add(-idleConn)
	p.sweep.Reset(0)
	p.mu.Unlock()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		open, armed := p.open, p.sweep != nil
		p.mu.Unlock()
		if open == 0 && !armed {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections are open, armed %v", open, armed)
		}
	}
	wantOK(t, ask(h, patience))
	if n := w.connections(); n != 2 {
		t.Errorf("%d connections; want another after the first was closed", n)
	}
}
