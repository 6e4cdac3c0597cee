package intake

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// door says who may ask: from where, and with which token. Where neither is configured, everybody.
type door struct {
	tokens     []tokenDigest
	allow      []netip.Prefix
	signatures signatures
}

// tokenDigest stands for a token, so that comparing two takes the same time whatever their length.
type tokenDigest [sha256.Size]byte

// newDoor makes a door of the configured tokens and prefixes ("10.0.0.0/8", or a single address).
// An IPv4-mapped IPv6 prefix means the IPv4 one.
func newDoor(tokens []schema.Secret, allowFrom []string) (door, error) {
	var d door
	var errs []error
	for i, t := range tokens {
		if t.Reveal() == "" {
			errs = append(errs, fmt.Errorf("intake.tokens[%d]: found an empty token; want some text", i))
		}
		d.tokens = append(d.tokens, sha256.Sum256([]byte(t.Reveal())))
	}
	for i, text := range allowFrom {
		p, err := parsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("intake.allow_from[%d]: found %q; want an address or a prefix such as 10.0.0.0/8", i, text))
		}
		d.allow = append(d.allow, p)
	}
	if len(errs) > 0 {
		return door{}, errors.Join(errs...)
	}
	return d, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, errors.New("not an address")
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// check returns nil where the request may be answered, else a 403 or 401. A dialect whose signature
// can be checked needs no token.
func (d *door) check(ctx *fasthttp.RequestCtx, q *question) *fault {
	if len(d.allow) > 0 && !d.admits(ctx.RemoteAddr()) {
		return &fault{code: codeForbidden, message: "this address is not in intake.allow_from"}
	}
	if signed := dialects[q.format].signed; signed != nil {
		if f, set := signed(&d.signatures, q, ctx); set {
			return f
		}
	}
	if len(d.tokens) > 0 && !d.knows(ctx.Request.Header.Peek("Authorization")) {
		return &fault{code: codeUnauthorized, message: `want the header "Authorization: Bearer TOKEN" with one of intake.tokens`}
	}
	return nil
}

func (d *door) admits(remote net.Addr) bool {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, p := range d.allow {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// knows compares with every token, so that the time taken tells nothing about any.
func (d *door) knows(authorization []byte) bool {
	scheme, token, _ := bytes.Cut(authorization, []byte(" "))
	if !bytes.EqualFold(scheme, []byte("Bearer")) {
		return false
	}
	sent := sha256.Sum256(bytes.TrimSpace(token))
	known := 0
	for i := range d.tokens {
		known |= subtle.ConstantTimeCompare(sent[:], d.tokens[i][:])
	}
	return known == 1
}
