package hookclient

import (
	"fmt"
	"net/netip"
	"slices"
)

// blockedError says that an address may not be asked.
type blockedError struct {
	addr netip.Addr
	why  string
}

func (e *blockedError) Error() string {
	return fmt.Sprintf("the webhook's address %s is %s, which may not be asked", e.addr, e.why)
}

// privateNets lists what a project may open with allow_private_hooks: the networks beside the PBX.
// netip's own predicates are too few: they let 100.64.0.0/10 pass, for one.
var privateNets = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),    // loopback, RFC 1122
	netip.MustParsePrefix("::1/128"),        // loopback, RFC 4291
	netip.MustParsePrefix("10.0.0.0/8"),     // private, RFC 1918
	netip.MustParsePrefix("172.16.0.0/12"),  // private, RFC 1918
	netip.MustParsePrefix("192.168.0.0/16"), // private, RFC 1918
	netip.MustParsePrefix("100.64.0.0/10"),  // shared address space, RFC 6598
	netip.MustParsePrefix("fc00::/7"),       // unique local, RFC 4193
	nat64Local,                              // a network's own translator, to wherever it likes
}

// neverNets lists what no webhook is, and no project can open: this network, link-local with the
// clouds' metadata service, protocol assignments, documentation, benchmarking, multicast, reserved
// (the IANA special-purpose registries).
var neverNets = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/128"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001:2::/48"),
	netip.MustParsePrefix("2001:10::/28"),
	netip.MustParsePrefix("2001:20::/28"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("ff00::/8"),
	// Metadata services that are not link-local: Alibaba Cloud, Azure (WireServer), AWS, Google Cloud.
	netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("fd00:ec2::254/128"),
	netip.MustParsePrefix("fd20:ce::254/128"),
}

var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291, deprecated
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765, deprecated
)

// guard returns the rule that decides whether an address may be dialled. It is asked about the very
// address that is then connected to, after resolution, so that a name which changes its mind in
// between gains nothing.
func guard(allowPrivate bool) func(netip.Addr) error {
	return func(addr netip.Addr) error {
		switch {
		case addr.Zone() != "" || listed(addr, neverNets):
			return &blockedError{addr, "link-local, metadata, multicast or reserved"}
		case !allowPrivate && listed(addr, privateNets):
			return &blockedError{addr, "loopback or private (allow_private_hooks is off)"}
		}
		return nil
	}
}

// listed reports whether nets hold addr, or the IPv4 address in it.
func listed(addr netip.Addr, nets []netip.Prefix) bool {
	inner := embedded(addr)
	return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(addr) || p.Contains(inner) })
}

// embedded returns the IPv4 address that an IPv6 form carries, or addr itself: a packet for the
// former ends at the latter.
func embedded(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if addr.Is4() {
		return addr
	}
	b := addr.As16()
	switch {
	case nat64.Contains(addr), nat64Local.Contains(addr), translated.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case teredo.Contains(addr):
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
	case compatible.Contains(addr) && !addr.IsLoopback() && !addr.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:16]))
	}
	return addr
}
