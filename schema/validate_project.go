package schema

import (
	"fmt"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// projectCheck is the check of one project: what its parts may refer to.
type projectCheck struct {
	*loader
	*Project
	at      *path
	schemes map[string]int // by id; where an id stands twice, the first
	hooks   map[string]int
	// otherwise is the id of the scheme of this project that calls end in, "" where it is another
	// project's or there is none.
	otherwise  string
	dependable []verdict // by scheme
}

func (l *loader) checkProjects(c *Config) {
	var root *path
	at := root.field("projects")
	checks := make([]projectCheck, len(c.Projects))
	byID := make(map[string]int, len(c.Projects))
	numbers := map[string]*path{}
	topProject, topScheme, _ := strings.Cut(c.DefaultSchema, "/")
	for i := range c.Projects {
		p := &checks[i]
		*p = projectCheck{loader: l, Project: c.Projects[i], at: at.item(i)}
		p.otherwise = p.DefaultSchema
		if p.otherwise == "" && p.ID == topProject {
			p.otherwise = topScheme
		}
		if first, twice := byID[p.ID]; !twice {
			byID[p.ID] = i
		} else if validID(p.ID) {
			l.fault(p.at.field("id"), "an id that no other project has; projects[%d] has this one", first)
		}
		p.check(c, numbers)
	}
	l.checkDefault(c, checks, byID)
}

// checkDefault checks the installation's own fallback, "PROJECT/SCHEMA".
func (l *loader) checkDefault(c *Config, checks []projectCheck, byID map[string]int) {
	if c.DefaultSchema == "" {
		return
	}
	var root *path
	at := root.field("default_schema")
	project, scheme, _ := strings.Cut(c.DefaultSchema, "/")
	i, known := byID[project]
	if !known {
		l.fault(at, "PROJECT/SCHEMA, ids of a project and a scheme of it")
		return
	}
	checks[i].checkFallback(at, scheme)
}

func (p *projectCheck) check(c *Config, numbers map[string]*path) {
	if !validID(p.ID) {
		p.fault(p.at.field("id"), wantID)
	}
	p.checkLine(p.at.field("name"), p.Name)
	p.checkZone(p.at.field("tz"), p.TZ)
	p.checkDestinations(&p.Project.Destinations, p.at.field("destinations"))
	if p.Dial != nil {
		p.checkDialing(p.Dial, p.at.field("dial"), true)
	}
	for i := range p.Intakes {
		p.checkIntakeRename(&p.Intakes[i], p.at.field("intakes").item(i))
	}
	p.indexParts()
	for i := range p.Schemas {
		p.pace.Breathe()
		p.checkScheme(&p.Schemas[i], p.at.field("schemas").item(i))
	}
	p.checkCycles()
	for i := range p.Hooks {
		p.pace.Breathe()
		p.checkHook(&p.Hooks[i], p.at.field("hooks").item(i))
	}
	for i := range p.Webhooks {
		p.pace.Breathe()
		p.checkWebhook(&p.Webhooks[i], p.at.field("webhooks").item(i))
	}
	p.checkWebhookIDs()
	for i := range p.Incoming {
		p.checkIncoming(&p.Incoming[i], p.at.field("incoming").item(i))
	}
	p.checkIncomingIDs()
	p.checkNumbers(numbers)
	at := p.at.field("default_schema")
	switch {
	case p.DefaultSchema != "":
		p.checkFallback(at, p.DefaultSchema)
	case c.DefaultSchema == "":
		p.fault(at, "the id of the scheme that callers get when all else fails (or default_schema for the whole installation)")
	}
}

func (l *loader) checkIntakeRename(in *IntakeRename, at *path) {
	l.oneOf(at.field("format"), in.Format, IntakeFormats...)
	for param, name := range in.Rename {
		at := at.field("rename").field(param)
		if _, known := ParamNamedString(param); !known {
			l.faultFound(at, fmt.Sprintf("the unknown parameter %q", excerpt(param)), "one of the catalogue's, caller or callid for example")
		}
		if _, ours := ParamNamedString(name); ours || name == "" || len(name) > 128 || !plainLine(name) {
			l.fault(at, "the PBX's own name, at most 128 bytes and none of the catalogue's")
		}
	}
}

// indexParts notes the project's schemes and hooks by id, and reports ids that are bad or stand
// twice.
func (p *projectCheck) indexParts() {
	p.schemes = make(map[string]int, len(p.Schemas))
	p.hooks = make(map[string]int, len(p.Hooks))
	p.dependable = make([]verdict, len(p.Schemas))
	for i := range p.Schemas {
		p.indexPart(p.schemes, "schemas", i, p.Schemas[i].ID)
	}
	for i := range p.Hooks {
		p.indexPart(p.hooks, "hooks", i, p.Hooks[i].ID)
	}
}

func (p *projectCheck) indexPart(parts map[string]int, key string, i int, id string) {
	at := p.at.field(key).item(i).field("id")
	if !validID(id) {
		p.fault(at, wantID)
		return
	}
	if first, twice := parts[id]; twice {
		p.fault(at, "an id of its own; %s[%d] has this one", key, first)
		return
	}
	parts[id] = i
}

// checkNumbers also strips each number's "+". numbers holds those of the projects before.
func (p *projectCheck) checkNumbers(numbers map[string]*path) {
	list := p.at.field("numbers")
	for i := range p.Numbers {
		if i%64 == 0 {
			p.pace.Breathe()
		}
		n, at := &p.Numbers[i], list.item(i)
		digits := Digits(n.Number)
		if digits == "" && len(n.Number) >= 2 && len(n.Number) <= 6 && allDigits(n.Number) {
			digits = n.Number // an extension
		}
		if other := numbers[digits]; digits == "" {
			p.fault(at.field("number"), "an international number of 7 to 15 digits, or an extension of 2 to 6")
		} else if other != nil {
			place := other.String() + " has it too"
			if node, _ := p.find(other); p.file != "" {
				place = fmt.Sprintf("line %d has it too (%s)", node.Line, other)
			}
			p.fault(at.field("number"), "a number that stands nowhere else; %s", place)
		} else {
			numbers[digits], n.Number = at.field("number"), digits
		}
		if _, known := p.schemes[n.Schema]; !known {
			p.fault(at.field("schema"), wantScheme)
		}
		p.checkLine(at.field("pool"), n.Pool)
		if n.Replacement != "" {
			p.oneOf(at.field("replacement"), n.Replacement, "dynamic", "static", "callback")
		}
	}
}

// checkDestinations also strips the "+" of number prefixes.
func (l *loader) checkDestinations(d *Destinations, at *path) {
	for i := range d.Allow {
		l.checkPattern(&d.Allow[i], at.field("allow").item(i))
	}
	for i := range d.Deny {
		l.checkPattern(&d.Deny[i], at.field("deny").item(i))
	}
	within(l, at.field("max"), d.Max, 1, 100)
	if d.Region != "" && !phonenumbers.GetSupportedRegions()[d.Region] {
		l.fault(at.field("region"), "an ISO 3166 country code in capitals, such as UA")
	}
}

func (l *loader) checkPattern(pattern *string, at *path) {
	if rest, ok := strings.CutPrefix(*pattern, "sip:"); ok {
		user, domain, _ := strings.Cut(rest, "@")
		if user != "" && every(user, isUserByte) && validDomainPattern(domain) {
			return
		}
	} else if login, ok := strings.CutPrefix(*pattern, "login:"); ok {
		if login != "" && every(login, func(c byte) bool { return isLoginByte(c) || c == '*' }) {
			return
		}
	} else if digits := strings.TrimPrefix(*pattern, "+"); digits != "" && len(digits) <= 15 && allDigits(digits) && digits[0] != '0' {
		*pattern = digits
		return
	}
	l.fault(at, "a number's first 1 to 15 digits, sip:USER@DOMAIN or login:LOGIN, where * is anything")
}

func validDomainPattern(domain string) bool {
	if strings.HasPrefix(domain, "[") {
		return validIPv6(domain)
	}
	return domain != "" && every(domain, func(c byte) bool { return isAlphanumeric(c) || c == '.' || c == '-' || c == '*' })
}
