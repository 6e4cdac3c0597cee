package hookclient

import (
	"net/netip"
	"strconv"
	"testing"

	"hookswitch/schema"
)

func TestWhichAddressesMayBeDialled(t *testing.T) {
	const always, private, never = "always", "where private addresses are allowed", "never"
	for _, tc := range []struct{ addr, allowed string }{
		{"93.184.216.34", always},
		{"8.8.8.8", always},
		{"11.0.0.1", always},
		{"172.15.255.255", always},
		{"172.32.0.1", always},
		{"100.63.255.255", always},
		{"100.128.0.1", always},
		{"169.253.255.255", always},
		{"192.167.255.255", always},
		{"2606:4700::1111", always},
		{"2a00:1450:4001:81b::200e", always},

		{"127.0.0.1", private},
		{"127.255.255.254", private},
		{"10.0.0.1", private},
		{"172.16.0.1", private},
		{"172.31.255.255", private},
		{"192.168.1.1", private},
		{"100.64.0.1", private}, // RFC 6598; netip.Addr.IsPrivate says no
		{"100.127.255.255", private},
		{"::1", private},
		{"fc00::1", private},
		{"fd12:3456:789a::1", private},

		{"0.0.0.0", never},
		{"0.1.2.3", never},
		{"169.254.169.254", never},
		{"169.254.0.1", never},
		{"192.0.0.192", never}, // a cloud's metadata
		{"192.0.2.1", never},
		{"192.88.99.1", never},
		{"198.18.0.1", never},
		{"198.19.255.255", never},
		{"198.51.100.1", never},
		{"203.0.113.1", never},
		{"224.0.0.1", never},
		{"239.255.255.255", never},
		{"240.0.0.1", never},
		{"255.255.255.255", never},
		{"100.100.100.200", never},
		{"168.63.129.16", never},
		{"::", never},
		{"100::1", never},
		{"2001:2::1", never},
		{"2001:10::1", never},
		{"2001:20::1", never},
		{"2001:db8::1", never},
		{"3fff::1", never},
		{"5f00::1", never},
		{"fd00:ec2::254", never},
		{"fd20:ce::254", never},
		{"fe80::1", never},
		{"fe80::1%eth0", never},
		{"fec0::1", never},
		{"ff02::1", never},

		// The same in IPv6's clothes: mapped, translated, NAT64, 6to4, Teredo (its client's address is
		// inverted), and the deprecated forms.
		{"::ffff:93.184.216.34", always},
		{"::ffff:127.0.0.1", private},
		{"::ffff:10.0.0.1", private},
		{"::ffff:169.254.169.254", never},
		{"::ffff:0:93.184.216.34", always},
		{"::ffff:0:10.0.0.1", private},
		{"::ffff:0:169.254.169.254", never},
		{"64:ff9b::93.184.216.34", always},
		{"64:ff9b::127.0.0.1", private},
		{"64:ff9b::169.254.169.254", never},
		{"64:ff9b:1::93.184.216.34", private}, // who knows where a network's own translator leads
		{"64:ff9b:1::169.254.169.254", never},
		{"2002:5db8:d822::1", always},
		{"2002:7f00:1::1", private},
		{"2002:a9fe:a9fe::1", never},
		{"2001:0:4136:e378:8000:63bf:a247:27dd", always},
		{"2001:0:4136:e378:8000:63bf:f5ff:fffe", private}, // 10.0.0.1
		{"2001:0:4136:e378:8000:63bf:5601:5601", never},   // 169.254.169.254
		{"::10.0.0.1", private},
		{"::169.254.169.254", never},
	} {
		addr := netip.MustParseAddr(tc.addr)
		got := never
		switch {
		case guard(false)(addr) == nil:
			got = always
		case guard(true)(addr) == nil:
			got = private
		}
		if got != tc.allowed {
			t.Errorf("%s may be dialled %s; want %s", tc.addr, got, tc.allowed)
		}
	}
}

// public prepares a hook of a project that allows no private addresses.
func public(t testing.TB, c *Client, url string, set func(*schema.Hook)) *Hook {
	t.Helper()
	conf := &schema.Hook{}
	conf.SetDefaults()
	if conf.URL = url; set != nil {
		set(conf)
	}
	h, err := c.Prepare(&schema.Project{}, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// asIfPublic takes one loopback address for a public one; of all others the real guard decides.
func asIfPublic(h *Hook, addr string) {
	real := h.primary.dialer.guard
	h.primary.dialer.guard = func(a netip.Addr) error {
		if a.String() == addr {
			return nil
		}
		return real(a)
	}
}

func TestAPrivateAddressIsBlockedWhateverItIsCalled(t *testing.T) {
	w := answering(t)
	port := strconv.Itoa(portOf(t, w))
	names := newNameServer(t, hosts(map[string][]string{
		"crm.example": {"127.0.0.1"}, "several.example": {"10.0.0.1", "169.254.169.254", "127.0.0.1"},
	}))
	for _, host := range []string{"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "crm.example", "several.example"} {
		h := public(t, New([]string{names.addr}), "http://"+host+":"+port+"/", nil)
		a := ask(h, patience)
		wantFailure(t, a, schema.ReasonHookBlocked, "which may not be asked")
		if len(a.Attempts) != 1 {
			t.Errorf("%s: %d attempts; want 1", host, len(a.Attempts))
		}
	}
	if w.connections() != 0 {
		t.Error("the webhook was connected to")
	}
}

func TestOfANamesAddressesOnlyTheAllowedAreDialled(t *testing.T) {
	forbidden := answering(t)
	port := strconv.Itoa(portOf(t, forbidden))
	w := serve(t, listen(t, "127.0.0.2:"+port), nil, answersWell)
	names := newNameServer(t, hosts(map[string][]string{"crm.example": {"127.0.0.1", "127.0.0.2"}}))
	h := public(t, New([]string{names.addr}), "http://crm.example:"+port, nil)
	asIfPublic(h, "127.0.0.2")
	wantOK(t, ask(h, patience))
	if forbidden.connections() != 0 || w.requests() != 1 {
		t.Errorf("%d connections to the private address, %d requests to the public one", forbidden.connections(), w.requests())
	}
}

func TestANameThatChangesItsMindIsBlocked(t *testing.T) {
	w := answering(t)
	port := strconv.Itoa(portOf(t, w))
	inside := serve(t, listen(t, "127.0.0.2:"+port), nil, answersWell)
	names := newNameServer(t, hosts(map[string][]string{"crm.example": {"127.0.0.1"}}))
	h := public(t, New([]string{names.addr}), "http://crm.example:"+port, nil)
	asIfPublic(h, "127.0.0.1")
	wantOK(t, ask(h, patience))
	names.become(hosts(map[string][]string{"crm.example": {"127.0.0.2"}}))
	outdate(h)
	wantFailure(t, ask(h, patience), schema.ReasonHookBlocked, "127.0.0.2")
	if inside.connections() != 0 {
		t.Error("the private address was connected to")
	}
}
