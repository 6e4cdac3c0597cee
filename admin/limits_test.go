package admin

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestAnAddressMayGuessTwentyTimesAndThenOnceInThreeSeconds(t *testing.T) {
	f, now, a := newFailures(), time.Unix(1000, 0), netip.MustParsePrefix("192.0.2.7/32")
	for i := range maxFailures {
		if wait := f.wait(a, now); wait != 0 {
			t.Fatalf("wrong token %d: found a wait of %s; want none", i+1, wait)
		}
		f.add(a, now)
	}
	if wait := f.wait(a, now); wait != refill {
		t.Errorf("after %d: found a wait of %s; want %s", maxFailures, wait, refill)
	}
	if wait := f.wait(netip.MustParsePrefix("192.0.2.8/32"), now); wait != 0 {
		t.Errorf("another address: found a wait of %s; want none", wait)
	}
	now = now.Add(refill)
	if wait := f.wait(a, now); wait != 0 {
		t.Errorf("%s later: found a wait of %s; want none", refill, wait)
	}
	f.add(a, now)
	if wait := f.wait(a, now); wait != refill {
		t.Errorf("one more wrong token: found a wait of %s; want %s", wait, refill)
	}
	if wait := f.wait(a, now.Add(maxFailures*refill)); wait != 0 {
		t.Errorf("a minute later: found a wait of %s; want none", wait)
	}
}

func TestNoNumberOfAddressesTakesMoreMemory(t *testing.T) {
	f, now := newFailures(), time.Unix(1000, 0)
	for i := range 3 * maxAddresses {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		f.add(netip.PrefixFrom(a, 32), now)
		if len(f.by) > maxAddresses {
			t.Fatalf("after %d addresses: found %d remembered; want at most %d", i+1, len(f.by), maxAddresses)
		}
	}
	newest := netip.MustParsePrefix("192.0.2.7/32")
	f.add(newest, now.Add(time.Hour))
	f.forget(now.Add(time.Hour))
	if _, known := f.by[newest]; len(f.by) != 1 || !known {
		t.Errorf("an hour later: found %d remembered; want the newest only", len(f.by))
	}
}

func TestAnIPv6NetworkCountsAsOneAddress(t *testing.T) {
	for _, tc := range []struct{ from, want string }{
		{"192.0.2.7:1", "192.0.2.7/32"},
		{"[::ffff:192.0.2.7]:1", "192.0.2.7/32"},
		{"[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::/64"},
		{"[2001:db8:1:2:ffff::1]:9", "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:9", "fe80::/64"},
	} {
		got := addressOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tc.from)))
		if got.String() != tc.want {
			t.Errorf("%s: found %s; want %s", tc.from, got, tc.want)
		}
	}
}
