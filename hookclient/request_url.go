package hookclient

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// address is a webhook's URL, read once: where to connect to, and what to ask for there.
type address struct {
	addr  string // "host:port" to dial, an IPv6 address in brackets
	host  string // without port and brackets; what a certificate is checked against
	isTLS bool
	// hostHeader is the host with the port that the URL names.
	hostHeader  string
	user        *url.Userinfo // nil where the URL names none
	path, query pieces
	shown       string // for people: without userinfo and secrets in the query
}

// read reads a URL whose path and query may have {{tags}}. Its errors don't quote what may be a
// password.
func (a *address) read(raw string) error {
	scheme, rest, found := strings.Cut(strings.TrimSpace(raw), "://")
	scheme = strings.ToLower(scheme)
	if !found || scheme != "http" && scheme != "https" {
		return errors.New("not a web address; want http://host/path or https://host/path")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	if strings.Contains(authority, "{{") {
		return errors.New("a tag in the host or port; tags may stand in the path and the query only, so that no caller chooses who is asked")
	}
	a.isTLS = scheme == "https"
	if err := a.readAuthority(scheme, authority); err != nil {
		return err
	}
	rest, _, _ = strings.Cut(rest, "#") // a fragment is never sent (RFC 9110, 4.2.5)
	path, query, _ := strings.Cut(rest, "?")
	if path == "" {
		path = "/"
	}
	a.shown = scheme + "://" + a.hostHeader + path
	if query != "" {
		a.shown += "?" + maskQuery(query)
	}
	return a.readPathAndQuery(path, query)
}

func (a *address) readAuthority(scheme, authority string) error {
	u, err := url.Parse(scheme + "://" + authority)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // parse itself quotes the whole URL
		}
		return fmt.Errorf("bad host or port: %w", err)
	}
	a.user = u.User
	if a.host, err = asciiHost(u.Hostname()); err != nil {
		return err
	}
	port := u.Port()
	a.hostHeader = a.host
	if strings.Contains(a.host, ":") {
		a.hostHeader = "[" + a.host + "]"
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("port %q; want 1 to 65535", port)
		}
		a.hostHeader += ":" + port
	} else if port = "80"; a.isTLS {
		port = "443"
	}
	a.addr = net.JoinHostPort(a.host, port)
	return nil
}

// asciiHost returns a host as it goes over the wire: a name in Cyrillic as Punycode (RFC 5891).
func asciiHost(host string) (string, error) {
	if host == "" {
		return "", errors.New("no host; want http://host/path or https://host/path")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return "", fmt.Errorf("host %q has a zone, which means nothing to others; want the address alone", host)
		}
		return host, nil
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil {
		// Names that DNS would not take are common inside a company: crm_test for one.
		if ascii = strings.ToLower(host); !isHostName(ascii) {
			return "", fmt.Errorf("host %q is neither a name nor an address", host)
		}
	}
	return ascii, nil
}

func isHostName(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return r != '-' && r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
	}) < 0
}

func (a *address) readPathAndQuery(path, query string) (err error) {
	if a.path, err = urlPieces(path, appendPath); err != nil {
		return err
	}
	a.query, err = urlPieces(query, appendQuery)
	return err
}

// urlPieces reads a part of a URL. What was typed into it but may not stand in one, a blank or a
// letter in Cyrillic, is percent-encoded; what already is stays.
func urlPieces(text string, escape func(b []byte, s string) []byte) (pieces, error) {
	ps, err := pieceTogether(text, escape)
	for i := range ps {
		ps[i].literal = string(appendPercent(nil, ps[i].literal, &uriBytes))
	}
	return ps, err
}

// append appends what is asked for, path and query, the parameters p after the URL's own query. p is
// nil where they travel elsewhere.
func (a *address) append(b []byte, f *filling, p *params, layout string) []byte {
	b = a.path.append(b, f, layout)
	path := len(b)
	b = a.query.append(append(b, '?'), f, layout)
	if p != nil {
		b = p.append(b, f, len(b) > path+1)
	}
	if len(b) == path+1 {
		return b[:path]
	}
	return b
}
