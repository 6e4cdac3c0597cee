package admin

import (
	"math"
	"net"
	"net/netip"
	"sync"
	"time"
)

// failures is how many wrong tokens an address may still send: maxFailures at once, and one more
// every refill. An IPv6 customer has a /64 to send from, so that counts as one address.
type failures struct {
	mu sync.Mutex // guards by
	// by holds when each address' patience is whole again: refill for every wrong token, from now on.
	by map[netip.Prefix]time.Time
}

const (
	maxFailures = 20
	refill      = 3 * time.Second
	// maxAddresses bounds the memory. Somebody with more addresses than that is not held off by
	// counting them.
	maxAddresses = 10000
)

func newFailures() *failures { return &failures{by: map[netip.Prefix]time.Time{}} }

// wait returns how long the address has to wait until its next wrong token counts as one more guess, and
// not as one too many; 0 for not at all.
func (f *failures) wait(address netip.Prefix, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	whole, known := f.by[address]
	if !known {
		return 0
	}
	return max(0, whole.Sub(now)-(maxFailures-1)*refill)
}

// add counts a wrong token.
func (f *failures) add(address netip.Prefix, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	whole, known := f.by[address]
	if !known && len(f.by) >= maxAddresses {
		f.forget(now)
	}
	if whole.Before(now) {
		whole = now
	}
	f.by[address] = whole.Add(refill)
}

// forget makes room for a tenth more: by addresses whose patience is whole again, then by any, so that
// it is not to be done for every address.
func (f *failures) forget(now time.Time) {
	for address, whole := range f.by {
		if !whole.After(now) {
			delete(f.by, address)
		}
	}
	for address := range f.by {
		if len(f.by) < maxAddresses*9/10 {
			return
		}
		delete(f.by, address)
	}
}

// addressOf returns what a connection counts as: an IPv4 address, or an IPv6 one's /64.
func addressOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // fails for no address at all, which then counts as one
	return p
}

// seconds rounds up, for Retry-After.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
