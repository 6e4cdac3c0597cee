package hookclient

import (
	"errors"
	"sync"
	"time"
)

// pool keeps the connections to one address. It is safe for concurrent use, and runs no goroutine.
type pool struct {
	dial  func(timeout time.Duration) (*conn, error)
	limit int // connections

	mu     sync.Mutex // guards what follows; never held during I/O
	idle   []*conn    // the last used is the last, and the next to be used again
	open   int        // those in use as well
	closed bool       // nothing is kept any more
	sweep  *time.Timer
}

// errNoFreeConns is a pool whose connections are all in use.
var errNoFreeConns = errors.New("no connection to the webhook is free")

func newPool(d *dialer, limit int) *pool { return &pool{dial: d.dial, limit: limit} }

// take returns a connection for one request, to be given back through put or drop: one that lies
// idle, else a new one, dialled by the deadline.
func (p *pool) take(deadline time.Time) (*conn, error) {
	for {
		c, room := p.pop()
		switch {
		case c == nil && !room:
			return nil, errNoFreeConns
		case c == nil:
			c, err := p.dial(time.Until(deadline))
			if err != nil {
				p.forget()
			}
			return c, err
		case c.quiet():
			return c, nil
		}
		p.drop(c)
	}
}

// pop returns an idle connection, or nil and whether there is room for a new one, which then counts
// as open.
func (p *pool) pop() (c *conn, room bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle) - 1; n >= 0 {
		c, p.idle[n] = p.idle[n], nil
		p.idle = p.idle[:n]
		return c, true
	}
	if p.open >= p.limit {
		return nil, false
	}
	p.open++
	return nil, true
}

// put keeps a connection, on which nothing is under way, for another request.
func (p *pool) put(c *conn, now time.Time) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.drop(c)
		return
	}
	c.used = now
	p.idle = append(p.idle, c)
	if p.sweep == nil {
		p.sweep = time.AfterFunc(idleConn, p.closeRested)
	}
	p.mu.Unlock()
}

// drop closes a connection that take returned.
func (p *pool) drop(c *conn) {
	p.forget()
	c.Close()
}

func (p *pool) forget() {
	p.mu.Lock()
	p.open--
	p.mu.Unlock()
}

// closeRested closes what has lain idle for too long, and comes again while there is more.
func (p *pool) closeRested() {
	now := time.Now()
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].used) >= idleConn {
		n++
	}
	rested := append([]*conn(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	clear(p.idle[len(p.idle):cap(p.idle)])
	p.open -= n
	if p.sweep = nil; len(p.idle) > 0 {
		p.sweep = time.AfterFunc(idleConn-now.Sub(p.idle[0].used), p.closeRested)
	}
	p.mu.Unlock()
	for _, c := range rested {
		c.Close()
	}
}

// close closes what is idle, and from now on keeps nothing. Requests under way end as they would.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.sweep != nil {
		p.sweep.Stop()
		p.sweep = nil
	}
	idle := p.idle
	p.idle, p.open = nil, p.open-len(idle)
	p.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}
