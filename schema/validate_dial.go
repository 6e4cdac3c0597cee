package schema

import (
	"regexp"
	"strings"
)

// checkDialing checks the templates of every PBX. Where inherit is set, those left out are the
// installation's.
func (l *loader) checkDialing(d *Dialing, at *path, inherit bool) {
	for pbx, t := range map[string]*DialTemplates{
		"asterisk": &d.Asterisk, "freeswitch": &d.FreeSWITCH, "kamailio": &d.Kamailio, "rustpbx": &d.RustPBX,
	} {
		at := at.field(pbx)
		l.checkDialTemplate(at.field("number"), pbx, t.Number, inherit, "number")
		l.checkDialTemplate(at.field("sip"), pbx, t.SIP, inherit, "user", "host")
		l.checkDialTemplate(at.field("login"), pbx, t.Login, inherit, "login")
	}
}

// reserved is what a PBX takes for its own in a dial string: where it would ring something more, stop
// reading, or expand.
var reserved = map[string][]string{
	"asterisk":   {"&", ",", `"`, "(", ")", "[", "]", `\`, "$", "{", "}"},
	"freeswitch": {",", "|", ":_:"},
	"kamailio":   {" ", ",", "<", ">", `"`, `\`},
	"rustpbx":    {" ", ",", "<", ">", `"`, `\`},
}

var (
	// sipURI is a URI with its tags filled in. Without a user and a host, Kamailio would give the
	// caller a 478.
	sipURI = regexp.MustCompile(`^sips?:[0-9A-Za-z+*._-]+@([0-9A-Za-z.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(;[0-9A-Za-z=._-]+)*$`)
	// variable is all that FreeSWITCH may expand in a template: ${system(...)} would be executed.
	variable = regexp.MustCompile(`\$\{[0-9A-Za-z_]+\}`)
)

func (l *loader) checkDialTemplate(at *path, pbx, text string, inherit bool, tags ...string) {
	if text == "" && inherit {
		return
	}
	t, err := ParseTemplate(text)
	if err != nil {
		l.fault(at, wantTags)
		return
	}
	want := "text with {{" + strings.Join(tags, "}} and {{") + "}}, and no other tag"
	missing := map[string]bool{}
	for _, tag := range tags {
		missing[tag] = true
	}
	filled := ""
	for _, part := range t.Parts() {
		filled += part.Literal
		if part.Tag == nil {
			continue
		}
		if filled += "0"; part.Tag.name == "host" {
			filled += ":1" // where the destination has a port
		}
		if _, allowed := missing[part.Tag.name]; !allowed {
			l.fault(at, "%s", want)
			return
		}
		missing[part.Tag.name] = false
	}
	for _, tag := range tags {
		if missing[tag] {
			l.fault(at, "%s", want)
			return
		}
	}
	for _, s := range reserved[pbx] {
		if strings.Contains(filled, s) {
			l.fault(at, "text without %q, which %s takes for its own", s, pbx)
			return
		}
	}
	switch {
	case !plainLine(text) || len(text) > 256:
		l.fault(at, "one line of at most 256 bytes without control characters")
	case (pbx == "kamailio" || pbx == "rustpbx") && !sipURI.MatchString(filled):
		l.fault(at, "a SIP URI, sip:user@host[:port]")
	case pbx == "freeswitch" && strings.Contains(variable.ReplaceAllString(filled, ""), "$"):
		l.fault(at, "text without $, but for variables, ${name}")
	case pbx == "freeswitch" && strings.Contains(strings.ToLower(filled), "x-pre-process"):
		l.fault(at, "text without that word, at which freeswitch drops the whole answer")
	}
}

// Dialing returns how the project's destinations are written: its own templates, completed by the
// installation's.
func (p *Project) Dialing(installation *Dialing) *Dialing {
	if p.Dial == nil {
		return installation
	}
	d := *p.Dial
	d.inherit(installation)
	return &d
}

// inherit fills the templates that d leaves out.
func (d *Dialing) inherit(from *Dialing) {
	d.Asterisk.inherit(&from.Asterisk)
	d.FreeSWITCH.inherit(&from.FreeSWITCH)
	d.Kamailio.inherit(&from.Kamailio)
	d.RustPBX.inherit(&from.RustPBX)
}

func (t *DialTemplates) inherit(from *DialTemplates) {
	if t.Number == "" {
		t.Number = from.Number
	}
	if t.SIP == "" {
		t.SIP = from.SIP
	}
	if t.Login == "" {
		t.Login = from.Login
	}
}
