package schema

import "strings"

// checkDialing checks the templates of every PBX. Where inherit is set, those left out are the
// installation's.
func (l *loader) checkDialing(d *Dialing, at *path, inherit bool) {
	for pbx, t := range map[string]*DialTemplates{"asterisk": &d.Asterisk, "freeswitch": &d.FreeSWITCH, "kamailio": &d.Kamailio} {
		at := at.field(pbx)
		l.checkDialTemplate(at.field("number"), pbx, t.Number, inherit, "number")
		l.checkDialTemplate(at.field("sip"), pbx, t.SIP, inherit, "user", "host")
		l.checkDialTemplate(at.field("login"), pbx, t.Login, inherit, "login")
	}
}

// separators are what a PBX splits a dial string at; in a template it would ring something more.
var separators = map[string][]string{
	"asterisk":   {"&", ","},
	"freeswitch": {",", "|", ":_:"},
	"kamailio":   {" ", ",", "<", ">", `"`},
}

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
	for _, part := range t.Parts() {
		if part.Tag == nil {
			continue
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
	for _, s := range separators[pbx] {
		if strings.Contains(text, s) {
			l.fault(at, "text without %q, at which %s would end the destination", s, pbx)
			return
		}
	}
	switch {
	case !plainLine(text) || len(text) > 256:
		l.fault(at, "one line of at most 256 bytes without control characters")
	case pbx == "kamailio" && !strings.HasPrefix(text, "sip:") && !strings.HasPrefix(text, "sips:"):
		l.fault(at, "a SIP URI, sip:… or sips:…")
	}
}

// inherit fills the templates that d leaves out.
func (d *Dialing) inherit(from *Dialing) {
	d.Asterisk.inherit(&from.Asterisk)
	d.FreeSWITCH.inherit(&from.FreeSWITCH)
	d.Kamailio.inherit(&from.Kamailio)
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
