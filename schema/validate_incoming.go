package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (p *projectCheck) checkIncoming(in *Incoming, at *path) {
	p.checkLine(at.field("name"), in.Name)
	p.checkLinkTokens(in, at)
	for i, name := range in.Fields {
		p.checkVariable(at.field("fields").item(i), name)
		if slices.Index(in.Fields, name) < i {
			p.fault(at.field("fields").item(i), "each field once")
		}
	}
	switch _, err := ParseTag(in.Key); {
	case in.Key == "" && in.Route == nil:
		p.fault(at.field("key"), "the field that holds the caller's number, under which the values are kept (or a route)")
	case in.Key != "" && len(in.Fields) > 0 && !slices.Contains(in.Fields, in.Key):
		p.fault(at.field("key"), "one of fields")
	case in.Key != "" && err != nil:
		p.fault(at.field("key"), "a name: letters, digits, _ and -, then .name or [0]")
	}
	within(p.loader, at.field("keep"), in.Keep, time.Second, 365*24*time.Hour)
	within(p.loader, at.field("max_body_bytes"), in.MaxBody, 1, 1<<20)
	within(p.loader, at.field("rate"), in.Rate, 0, 100_000)
	if in.Route != nil {
		p.checkIncomingRoute(in.Route, at.field("route"))
	}
	if _, err := ParseTemplate(in.Response); err != nil {
		p.fault(at.field("response"), wantTags)
	}
	p.checkMediaType(at.field("response_type"), in.ResponseType, "")
}

// checkIncomingRoute wants what a lookup needs; ids without {{tags}} must be there now.
func (p *projectCheck) checkIncomingRoute(r *IncomingRoute, at *path) {
	if r.Callee == "" && r.Hook == "" && r.Schema == "" {
		p.faultFound(at, "a route to nowhere", "a callee, a hook or a schema")
	}
	for key, text := range map[string]string{"caller": r.Caller, "callee": r.Callee, "hook": r.Hook, "schema": r.Schema} {
		t, err := ParseTemplate(text)
		if err != nil {
			p.fault(at.field(key), wantTags)
			continue
		}
		if _, literal := t.Literal(); !literal || text == "" {
			continue
		}
		if _, known := p.hooks[text]; key == "hook" && !known {
			p.fault(at.field(key), wantHook)
		}
		if _, known := p.schemes[text]; key == "schema" && !known {
			p.fault(at.field(key), wantScheme)
		}
	}
}

// checkLinkTokens wants a token, or its hash, that no other link has.
func (p *projectCheck) checkLinkTokens(in *Incoming, at *path) {
	if p.links == nil {
		p.links = map[[sha256.Size]byte]*path{}
	}
	for _, t := range []struct {
		secret      Secret
		hash        string
		key, hashed string
		needed      bool
	}{{in.Token, in.TokenHash, "token", "token_sha256", true}, {in.Token2, in.TokenHash2, "token_next", "token_next_sha256", false}} {
		at := at.field(t.key)
		text := t.secret.Reveal()
		switch {
		case text != "" && t.hash != "":
			p.faultFound(at, "a token and its hash", "one of %s and %s", t.key, t.hashed)
			continue
		case t.hash != "":
			at = at.up.field(t.hashed)
			if sum, err := hex.DecodeString(t.hash); err != nil || len(sum) != sha256.Size || strings.ToLower(t.hash) != t.hash {
				p.faultSecret(at, "the token's SHA-256 in 64 lower-case hexadecimal digits")
				continue
			}
		case text == "" && !t.needed:
			continue
		default:
			// It stands in a path, /in/TOKEN, and so has no character that means something there.
			if len(text) < 16 || len(text) > 256 || !every(text, func(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("-._~", c) >= 0 }) {
				p.faultSecret(at, "16 to 256 characters of 0-9 A-Z a-z - . _ ~")
				continue
			}
		}
		sum := tokenSum(t.secret, t.hash)
		if other := p.links[sum]; other != nil {
			p.faultSecret(at, "a token that no other link has; %s is the same", other)
			continue
		}
		p.links[sum] = at
	}
}

// TokenSums returns the SHA-256 of each token that opens the link: one, or two while it is rotated.
func (in *Incoming) TokenSums() [][sha256.Size]byte {
	sums := [][sha256.Size]byte{tokenSum(in.Token, in.TokenHash)}
	if in.Token2.Reveal() != "" || in.TokenHash2 != "" {
		sums = append(sums, tokenSum(in.Token2, in.TokenHash2))
	}
	return sums
}

func tokenSum(token Secret, hash string) (sum [sha256.Size]byte) {
	if hash == "" {
		return sha256.Sum256([]byte(token.Reveal()))
	}
	hex.Decode(sum[:], []byte(hash)) // checked when it was read
	return sum
}

// checkIncomingIDs gives an id to each link that has none, made of what the link is and not of its
// token, which changes, and wants every id to stand once.
func (p *projectCheck) checkIncomingIDs() {
	seen := make(map[string]int, len(p.Incoming))
	for i := range p.Incoming {
		in, at := &p.Incoming[i], p.at.field("incoming").item(i)
		given := in.ID != ""
		if !given {
			in.ID = fmt.Sprintf("in-%012x", derived(in.Name, strings.Join(in.Fields, ","), in.Key)>>16)
		}
		first, twice := seen[in.ID]
		switch {
		case !validID(in.ID):
			p.fault(at.field("id"), wantID)
		case twice && given:
			p.fault(at.field("id"), "an id of its own; incoming[%d] has this one", first)
		case twice:
			p.faultFound(at, "the same name, fields and key as of incoming["+strconv.Itoa(first)+"]", "an id for each, or a name")
		default:
			seen[in.ID] = i
		}
	}
}
