package intake

import (
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"hookswitch/socket"
)

// conns is a listener that knows its open connections: it holds their number below a limit, and
// can end the idle ones or all of them, which fasthttp's own shutdown leaves running.
type conns struct {
	limit func() int
	// patience is the time for a request from its first byte to its last, and the least that a client
	// has to take its answer; idle the least that a connection may wait for the next request.
	patience, idle time.Duration
	log            *zap.Logger
	// turnedAway counts connections that found the house full.
	turnedAway atomic.Uint64

	mu      sync.Mutex // guards what follows
	ln      net.Listener
	stopped bool
	open    map[*conn]struct{}
	told    time.Time // when the log was last told that there is no room
	looked  time.Time // when makeRoom last found none
}

// listen takes ln over. It returns false, ln closed, where stopListening came first.
func (l *conns) listen(ln net.Listener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		_ = ln.Close()
		return false
	}
	l.ln, l.open = ln, make(map[*conn]struct{})
	return true
}

// Accept waits for the next connection there is room for, or can be made. It outlives a lack of file
// descriptors, which fasthttp would take for the listener's end.
func (l *conns) Accept() (net.Conn, error) {
	for {
		nc, err := l.ln.Accept()
		switch {
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
			l.mu.Lock()
			l.makeRoom("no connection can be accepted: " + err.Error() + "; raise the limit of open files")
			l.mu.Unlock()
			time.Sleep(20 * time.Millisecond)
			continue
		case err != nil:
			return nil, err
		}
		if c := l.admit(nc); c != nil {
			return c, nil
		}
		l.turnedAway.Add(1)
		turnAway(nc)
	}
}

func (l *conns) admit(nc net.Conn) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit := l.limit(); len(l.open) >= limit {
		if l.makeRoom("intake.max_connections are open"); len(l.open) >= limit {
			return nil
		}
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		if s, err := socket.New(tcp); err == nil {
			nc = s
		}
	}
	now := time.Now()
	c := &conn{Conn: nc, all: l, timed: true, rested: now}
	c.readUntil(now.Add(l.patience)) // a new connection has its time for a request at once
	l.open[c] = struct{}{}
	return c
}

const (
	// restsLong is how long a connection has had nothing to do that makes room for another.
	restsLong = time.Second
	// roomOf is the part of such connections that goes at once, so that a crowd is not looked over for each
	// that comes.
	roomOf    = 32
	lookEvery = 10 * time.Millisecond
	tellEvery = time.Minute
)

// makeRoom ends those of the connections at rest that have rested longest, as nginx does
// (ngx_drain_connections): they mostly cost a PBX a new one, and, as with nginx, a request that was on its way;
// being turned away costs a call each time. The caller has l.mu.
func (l *conns) makeRoom(why string) {
	now := time.Now()
	if now.Sub(l.looked) < lookEvery {
		return
	}
	type resting struct {
		*conn
		since time.Time
	}
	var rested []resting
	for c := range l.open {
		if since, ok := c.restsSince(); ok && now.Sub(since) >= restsLong {
			rested = append(rested, resting{c, since})
		}
	}
	slices.SortFunc(rested, func(a, b resting) int { return a.since.Compare(b.since) })
	open, ended := len(l.open), 0
	for _, r := range rested[:(len(rested)+roomOf-1)/roomOf] {
		if r.endIfIdle() {
			delete(l.open, r.conn)
			ended++
		}
	}
	if ended == 0 {
		l.looked = now
	}
	if now.Sub(l.told) >= tellEvery {
		l.told = now
		l.log.Warn(why, zap.Int("open", open), zap.Int("closed_to_make_room", ended))
	}
}

// turnAway says why and hangs up. A new connection's send buffer is empty, so nothing blocks.
func turnAway(nc net.Conn) {
	_ = nc.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	_, _ = io.WriteString(nc, houseFull)
	_ = nc.Close()
}

var houseFull = func() string {
	body := string(appendFaultJSON(nil, &fault{code: codeOverloaded, message: "intake.max_connections are open"})) + "\n"
	return "HTTP/1.1 503 Service Unavailable\r\nServer: hookswitch\r\nConnection: close\r\n" +
		"Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}()

// Close and Addr make conns a net.Listener.
func (l *conns) Close() error   { l.stopListening(); return nil }
func (l *conns) Addr() net.Addr { return l.ln.Addr() }

func (l *conns) stopListening() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	if l.ln != nil {
		_ = l.ln.Close()
	}
}

func (l *conns) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// endIdle makes the read that an idle connection waits in fail, so that fasthttp closes it. One
// that has begun to read a request is left to answer it.
func (l *conns) endIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.endIfIdle()
	}
}

// closeAll closes every connection, mid-answer too, and returns how many there were.
func (l *conns) closeAll() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.open)
	for c := range l.open {
		_ = c.Conn.Close()
	}
	clear(l.open)
	return n
}

// conn is one PBX's connection.
type conn struct {
	net.Conn
	all *conns
	// linger: what was sent is not all read. Only the goroutine that serves it touches this.
	linger bool

	// These too. Setting a deadline costs more than looking at the one that is set.
	readBy, writeBy time.Time // the deadlines that are set
	wrote           time.Time // when the last answer began to leave
	timed           bool      // readBy is that of the request under way
	heard           bool      // something has been read
	hungUp          bool      // the other side has; nothing more will be read

	mu     sync.Mutex // guards busy and rested, and keeps endIfIdle from cutting off a request that has begun
	busy   bool       // written by the goroutine that serves c, as is rested
	rested time.Time  // since when it is not busy
	ended  bool       // by endIfIdle, unless a request was on its way already
}

func (c *conn) setState(state fasthttp.ConnState) {
	c.mu.Lock()
	if c.busy = state == fasthttp.StateActive; state == fasthttp.StateIdle {
		c.rested = c.wrote
	}
	revived := c.busy && c.ended
	c.ended = c.ended && !revived
	c.mu.Unlock()
	if revived {
		c.revive()
	}
	if state == fasthttp.StateIdle {
		c.timed = false
	}
}

// Read reads what a request brings, and waits for the next one. The rest of a request that has not
// come at once has patience from here on. A connection waits for its idle time at least, and at most
// an eighth longer, so that few answers have to set a deadline.
func (c *conn) Read(b []byte) (int, error) {
	if !c.timed {
		c.readNext()
	}
	n, err := c.Conn.Read(b)
	c.heard, c.hungUp = c.heard || n > 0, err == io.EOF
	return n, err
}

func (c *conn) readNext() {
	if c.busy {
		c.timed = true
		c.readUntil(time.Now().Add(c.all.patience))
		return
	}
	if earliest := c.wrote.Add(c.all.idle); c.readBy.Before(earliest) || c.readBy.After(earliest.Add(c.all.idle/8)) {
		c.readUntil(earliest.Add(c.all.idle / 8))
	}
	// Others' turn: under load the next request is often there by then, and the read need not fail first
	// and wait.
	runtime.Gosched()
}

func (c *conn) readUntil(t time.Time) {
	c.readBy = t
	_ = c.SetReadDeadline(t) // of a closed connection, reading tells
}

// Write writes an answer, for which the client has patience to take it, and no more than twice that.
//
// Who has asked nothing is told nothing: an answer to a connection that was only opened would lie there for
// the question that comes next, and be taken for its answer.
func (c *conn) Write(b []byte) (int, error) {
	if !c.heard {
		return len(b), nil
	}
	c.wrote = time.Now()
	if c.writeBy.Sub(c.wrote) < c.all.patience {
		c.writeBy = c.wrote.Add(2 * c.all.patience)
		_ = c.SetWriteDeadline(c.writeBy) // of a closed connection, writing tells
	}
	return c.Conn.Write(b)
}

// endIfIdle reports whether c was idle, and ends it then.
func (c *conn) endIfIdle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy {
		return false
	}
	c.ended = true
	_ = c.SetReadDeadline(time.Unix(1, 0))
	return true
}

// revive takes c, which was ended when its next request had come already, for open: that one is answered.
func (c *conn) revive() {
	c.timed, c.readBy = false, time.Time{} // the deadline is not what they say
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if c.all.open != nil {
		c.all.open[c] = struct{}{}
	}
}

// restsSince returns since when c has had nothing to do, false where it has.
func (c *conn) restsSince() (since time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rested, !c.busy
}

// Close closes, after a moment's reading where the client is still sending: closing on unread data
// resets the connection, and the answer may be lost with it (RFC 9112, 9.6).
func (c *conn) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger {
		_ = half.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
	}
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 4 << 20
)
