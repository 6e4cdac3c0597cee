package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// EncodeResource returns a Project, or an element of one, or a slice of them, as the JSON that
// DecodeResource reads: the configuration's key names, durations as text, defaults included. What
// holds nothing (an empty text or list) and would by default is left out, and so is what the loader
// has made of other values. A secret is "***" unless reveal is set, which is for the store's own
// document and nobody's eyes. Decoding what was encoded with reveal gives the same value.
func EncodeResource(v any, reveal bool) ([]byte, error) {
	e := newEncoder(reveal)
	value := reflect.ValueOf(v)
	for value.Kind() == reflect.Pointer {
		value = value.Elem()
	}
	var b bytes.Buffer
	if err := writeJSON(&b, e.value(value)); err != nil {
		return nil, fmt.Errorf("encode a %T: %w", v, err)
	}
	return b.Bytes(), nil
}

// encoder makes a tree of a value: the way back of the decoder.
type encoder struct {
	reveal   bool
	defaults map[reflect.Type]reflect.Value // what SetDefaults makes of a type
}

func newEncoder(reveal bool) *encoder {
	return &encoder{reveal: reveal, defaults: map[reflect.Type]reflect.Value{}}
}

// secretMark tells a secret's node from a text's.
const secretMark = "secret"

func scalarNode(tag, text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
	if tag == "!!str" {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// value returns v's tree.
func (e *encoder) value(v reflect.Value) *yaml.Node {
	switch v.Type() {
	case durationType:
		return scalarNode("!!str", fmt.Sprint(tidy(v.Interface())))
	case secretType:
		s := v.Interface().(Secret)
		n := scalarNode("!!str", s.String())
		if e.reveal {
			n.Value = s.Reveal()
		}
		n.LineComment = secretMark
		return n
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return scalarNode("!!null", "null")
		}
		return e.value(v.Elem())
	case reflect.Struct:
		return e.structure(v, e.defaultOf(v.Type()))
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, e.value(v.Index(i)))
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range slices.SortedFunc(maps.Keys(keysOf(v)), strings.Compare) {
			n.Content = append(n.Content, scalarNode("!!str", key), e.value(v.MapIndex(reflect.ValueOf(key))))
		}
		return n
	case reflect.String:
		return scalarNode("!!str", v.String())
	case reflect.Int, reflect.Int64:
		return scalarNode("!!int", strconv.FormatInt(v.Int(), 10))
	case reflect.Float64:
		return scalarNode("!!float", strconv.FormatFloat(v.Float(), 'f', -1, 64))
	case reflect.Bool:
		return scalarNode("!!bool", strconv.FormatBool(v.Bool()))
	}
	panic(fmt.Sprintf("schema: the encoder can't write a %s", v.Type()))
}

func keysOf(m reflect.Value) map[string]bool {
	keys := make(map[string]bool, m.Len())
	for _, k := range m.MapKeys() {
		keys[k.String()] = true
	}
	return keys
}

// partial is a struct of which some keys have no place beside others.
type partial interface{ omits(key string) bool }

// omits leaves out what qualifies a dial step, for which any other step is refused.
func (s *Step) omits(key string) bool {
	switch key {
	case "strategy", "timeout", "moh", "announce":
		return len(s.Dial) == 0
	}
	return false
}

// structure returns a struct's tree, given what it would be by default.
func (e *encoder) structure(v, byDefault reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	t := v.Type()
	part, _ := addressable(v).Interface().(partial)
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		if key == "" || key == "-" || part != nil && part.omits(key) {
			continue
		}
		field := v.Field(i)
		if holdsNothing(field) && holdsNothing(byDefault.Field(i)) {
			continue
		}
		var inner *yaml.Node
		if field.Kind() == reflect.Struct && field.Type() != secretType {
			within := byDefault.Field(i)
			if reflect.PointerTo(field.Type()).Implements(defaulterType) {
				within = e.defaultOf(field.Type())
			}
			if inner = e.structure(field, within); len(inner.Content) == 0 {
				continue
			}
		} else {
			inner = e.value(field)
		}
		n.Content = append(n.Content, scalarNode("!!str", key), inner)
	}
	return n
}

// addressable returns a pointer to v, or to a copy of it.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v.Addr()
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

func (e *encoder) defaultOf(t reflect.Type) reflect.Value {
	if v, ok := e.defaults[t]; ok {
		return v
	}
	p := reflect.New(t)
	if d, ok := p.Interface().(defaulter); ok {
		d.SetDefaults()
	}
	e.defaults[t] = p.Elem()
	return p.Elem()
}

// holdsNothing reports an empty text, secret or list, and a nil pointer. A number is something.
func holdsNothing(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Pointer:
		return v.IsNil()
	}
	return v.Type() == secretType && v.Interface().(Secret).Reveal() == ""
}

// writeJSON writes a tree of the encoder's.
func writeJSON(b *bytes.Buffer, n *yaml.Node) error {
	open, end, step := byte('['), byte(']'), 1
	switch n.Kind {
	case yaml.MappingNode:
		open, end, step = '{', '}', 2
	case yaml.ScalarNode:
		if n.Tag != "!!str" {
			b.WriteString(n.Value)
			return nil
		}
		text, err := json.Marshal(n.Value)
		b.Write(text)
		return err
	}
	b.WriteByte(open)
	for i := 0; i < len(n.Content); i += step {
		if i > 0 {
			b.WriteByte(',')
		}
		if step == 2 {
			if err := writeJSON(b, n.Content[i]); err != nil {
				return err
			}
			b.WriteByte(':')
		}
		if err := writeJSON(b, n.Content[i+step-1]); err != nil {
			return err
		}
	}
	b.WriteByte(end)
	return nil
}
