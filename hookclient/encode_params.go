package hookclient

import (
	"bytes"
	"errors"
	"fmt"

	"hookswitch/schema"
)

// style is a way of writing parameters. Lists and objects are written
//
//	form     name[]=a&name[]=b and name[key]=v, as PHP and most frameworks read them, the brackets
//	         percent-encoded as RFC 3986 wants them in a query
//	headers  the same header several times, and Name-key: v
//	json     "name":["a","b"] and "name":{"key":"v"}
//	xml      <name>a</name><name>b</name> and <name><key>v</key></name>
//
// Every value is text, numbers too: "callnum":"1", as the documented requests have it.
type style struct {
	sep    string // between one value and the next, also across the borders of lists and objects
	escape func(b []byte, s string) []byte
	// open and close write what stands around a value; openItem what stands before a list's item.
	open, close, openItem func(b []byte, name string) []byte
	// under is the name that a parameter has inside the object called path.
	under func(path, name string) string
	// object and list give what stands around those, beyond what their items have.
	object, list func(name string) (open, close string)
	// same tells whether two names as they are written are one to who reads them; nil where those of two
	// parameters never are.
	same func(x, y []byte) bool
}

var formStyle = style{
	sep:      "&",
	escape:   appendQuery,
	open:     func(b []byte, name string) []byte { return append(appendQuery(b, name), '=') },
	close:    appendNothing,
	openItem: func(b []byte, name string) []byte { return append(appendQuery(b, name+"[]"), '=') },
	under:    func(path, name string) string { return path + "[" + name + "]" },
	object:   nothingAround,
	list:     nothingAround,
}

var headerStyle = style{
	escape:   appendHeader,
	open:     appendHeaderName,
	close:    appendNothing,
	openItem: appendHeaderName,
	under:    func(path, name string) string { return path + "-" + name },
	object:   nothingAround,
	list:     nothingAround,
	same:     func(x, y []byte) bool { return len(x) == len(y) && bytes.EqualFold(x, y) }, // ASCII alone
}

var jsonStyle = style{
	sep:      ",",
	escape:   appendJSON,
	open:     func(b []byte, name string) []byte { return append(appendJSONName(b, name), '"') },
	close:    func(b []byte, _ string) []byte { return append(b, '"') },
	openItem: func(b []byte, _ string) []byte { return append(b, '"') },
	under:    nameAlone,
	object: func(name string) (string, string) {
		return string(append(appendJSONName(nil, name), '{')), "}"
	},
	list: func(name string) (string, string) {
		return string(append(appendJSONName(nil, name), '[')), "]"
	},
}

var xmlStyle = style{
	escape:   appendXML,
	open:     appendXMLOpen,
	close:    appendXMLClose,
	openItem: appendXMLOpen,
	under:    nameAlone,
	object: func(name string) (string, string) {
		return string(appendXMLOpen(nil, name)), string(appendXMLClose(nil, name))
	},
	list: nothingAround,
	same: bytes.Equal,
}

func nameAlone(_, name string) string         { return name }
func nothingAround(string) (string, string)   { return "", "" }
func appendNothing(b []byte, _ string) []byte { return b }
func appendJSONName(b []byte, name string) []byte {
	return append(appendJSON(append(b, '"'), name), '"', ':')
}
func appendXMLOpen(b []byte, name string) []byte {
	return append(appendXMLName(append(b, '<'), name), '>')
}
func appendXMLClose(b []byte, name string) []byte {
	return append(appendXMLName(append(b, '<', '/'), name), '>')
}

// field is one value of a request with all that stands before and after it already written: a list
// or an object is no more than longer text around its first and last value.
type field struct {
	open, close string
	value       value
	optional    bool // left out where the value is not known
}

// compiler turns the rules of a hook into fields of one style.
type compiler struct {
	style  *style
	layout string // the hook's own date layout
}

// rules compiles rules that stand inside the object called path; "" for none. where is their place
// in the configuration, for errors.
func (c *compiler) rules(rules []schema.ParamRule, path, where string) ([]field, error) {
	var fields []field
	for i := range rules {
		rule, place := &rules[i], fmt.Sprintf("%s[%d]", where, i)
		if rule.Name == "" {
			return nil, at(place+".name", errors.New("empty; want the name to send the parameter under"))
		}
		name := rule.Name
		if path != "" {
			name = c.style.under(path, rule.Name)
		}
		compiled, err := c.rule(rule, name, place)
		if err != nil {
			return nil, err
		}
		fields = append(fields, compiled...)
	}
	return fields, nil
}

func (c *compiler) rule(rule *schema.ParamRule, name, place string) ([]field, error) {
	switch {
	case len(rule.Object) > 0:
		fields, err := c.rules(rule.Object, name, place+".object")
		if err != nil {
			return nil, err
		}
		return wrapped(fields, c.style.object, name), nil
	case len(rule.List) > 0:
		fields := make([]field, 0, len(rule.List))
		for _, param := range rule.List {
			v, err := c.value(rule, place)
			if err != nil {
				return nil, err
			}
			v.tag = schema.NamedTag(param)
			fields = append(fields, c.field(c.style.openItem, name, v))
		}
		return wrapped(fields, c.style.list, name), nil
	}
	v, err := c.value(rule, place)
	if err != nil {
		return nil, err
	}
	switch {
	case rule.Value != nil:
		if v.text, err = schema.ParseTemplate(*rule.Value); err != nil {
			return nil, at(place+".value", err)
		}
	case rule.Param != "":
		v.tag = schema.NamedTag(rule.Param)
	default:
		return nil, at(place, errors.New("nothing says what to send; want one of param, value, list and object"))
	}
	return []field{c.field(c.style.open, name, v)}, nil
}

// value is what a rule says of its values, wherever they come from.
func (c *compiler) value(rule *schema.ParamRule, place string) (v value, err error) {
	if v.hash, err = hashNamed(rule.Hash); err != nil {
		return v, at(place+".hash", err)
	}
	if v.layout, err = dateLayout(rule.DateFormat, c.layout); err != nil {
		return v, at(place+".date_format", err)
	}
	return v, nil
}

func (c *compiler) field(open func([]byte, string) []byte, name string, v value) field {
	return field{open: string(open(nil, name)), close: string(c.style.close(nil, name)), value: v}
}

// wrapped writes what stands around a list or an object onto its first and its last value.
func wrapped(fields []field, around func(string) (string, string), name string) []field {
	open, end := around(name)
	fields[0].open = open + fields[0].open
	fields[len(fields)-1].close += end
	return fields
}

// catalogue compiles what a hook without params sends: every catalogue parameter that is known,
// under its usual name.
func (c *compiler) catalogue() []field {
	fields := make([]field, 0, schema.ParamCount)
	for p := schema.Param(0); p < schema.ParamCount; p++ {
		v := value{tag: schema.NamedTag(p.Name()), layout: c.layout}
		f := c.field(c.style.open, p.Name(), v)
		f.optional = true
		fields = append(fields, f)
	}
	return fields
}

// params are the parameters that a hook sends, ready to be filled in.
type params struct {
	style  *style
	fields []field
	// customs: the call's custom parameters follow, under their own names.
	customs bool
}

// append appends the parameters; joined says that others stand before them.
func (p *params) append(b []byte, f *filling, joined bool) []byte {
	f.names = f.names[:0]
	for i := range p.fields {
		field := &p.fields[i]
		v := field.value.get(f)
		if v == "" && field.optional {
			continue
		}
		if joined {
			b = append(b, p.style.sep...)
		}
		if p.customs {
			f.names = append(f.names, span{len(b), len(b) + len(field.open)})
		}
		b = append(b, field.open...)
		b = p.style.escape(b, v)
		b = append(b, field.close...)
		joined = true
	}
	if !p.customs {
		return b
	}
	for _, custom := range f.call.Customs() {
		before := len(b)
		if joined {
			b = append(b, p.style.sep...)
		}
		name := len(b)
		if b = p.style.open(b, custom.Name); !f.isNew(b, name, p.style) {
			b = b[:before]
			continue
		}
		b = p.style.escape(b, custom.Value)
		b = p.style.close(b, custom.Name)
		joined = true
	}
	return b
}

// span is where something stands in a text.
type span struct{ from, to int }

// isNew reports whether the name that b ends with, from start on, is none of those written before it, and
// notes it then. Many a server would make one value of two that have one name.
func (f *filling) isNew(b []byte, start int, s *style) bool {
	if s.same == nil {
		return true
	}
	for _, n := range f.names {
		if s.same(b[n.from:n.to], b[start:]) {
			return false
		}
	}
	f.names = append(f.names, span{start, len(b)})
	return true
}
