package schema

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// What one file may decode to. Aliases have a limit of their own, since a few lines of them can
// stand for a billion values.
const (
	maxNodes   = 1_000_000
	maxAliased = 100_000
	maxDepth   = 64
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	secretType   = reflect.TypeFor[Secret]()
	tlsType      = reflect.TypeFor[TLS]()

	defaulterType = reflect.TypeFor[defaulter]()
)

// structType is what the decoder knows of a struct: its keys and the fields they fill.
type structType struct {
	keys     []string
	fields   map[string]int // key → field
	defaults bool           // it has SetDefaults
}

type defaulter interface{ SetDefaults() }

// structType reads a struct's yaml tags, once a Load.
func (l *loader) structType(t reflect.Type) *structType {
	if s := l.types[t]; s != nil {
		return s
	}
	s := &structType{fields: map[string]int{}, defaults: reflect.PointerTo(t).Implements(defaulterType)}
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if key != "" && key != "-" {
			s.keys = append(s.keys, key)
			s.fields[key] = i
		}
	}
	l.types[t] = s
	return s
}

// decodeRoot fills c from the document.
func (l *loader) decodeRoot(c *Config) {
	if l.root == nil {
		return
	}
	l.decode(l.root, reflect.ValueOf(c).Elem(), nil)
}

// decode fills v from n. Null leaves v as it is: the default.
func (l *loader) decode(n *yaml.Node, v reflect.Value, at *path) {
	if n.Kind == yaml.AliasNode {
		defer func(was bool) { l.inAlias = was }(l.inAlias)
		l.inAlias = true
		n = resolved(n)
	}
	if !l.spend(n, at) || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" {
		l.refuse(n, at, "a tag (!)", "the value without one")
		return
	}
	switch {
	case v.Type() == durationType:
		l.decodeDuration(n, v, at)
		return
	case v.Type() == secretType:
		if l.isText(n, at) {
			if s, ok := l.secret(n, at); ok {
				v.Set(reflect.ValueOf(s))
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		l.decode(n, v.Elem(), at)
	case reflect.Struct:
		l.decodeStruct(n, v, at)
	case reflect.Slice:
		l.decodeList(n, v, at)
	case reflect.Map:
		l.decodeMap(n, v, at)
	case reflect.String:
		if l.isText(n, at) {
			if text, ok := l.expand(n, at); ok {
				v.SetString(text)
			}
		}
	case reflect.Int, reflect.Int64:
		l.decodeInt(n, v, at)
	case reflect.Float64:
		l.decodeFloat(n, v, at)
	case reflect.Bool:
		l.decodeBool(n, v, at)
	default:
		panic(fmt.Sprintf("schema: the loader can't decode a %s (%s)", v.Type(), at))
	}
}

// spend counts a node against the limits; false stops the decoder for good.
func (l *loader) spend(n *yaml.Node, at *path) bool {
	if l.stopped {
		return false
	}
	l.nodes++
	if l.nodes%64 == 0 {
		l.pace.Breathe()
	}
	if l.inAlias {
		l.aliased++
	}
	switch {
	case at.level() > maxDepth:
		l.faultAt(n, at, "deeper nesting", "at most %d levels", maxDepth)
	case l.nodes > maxNodes:
		l.faultAt(n, at, "more values", "at most %d in a file", maxNodes)
	case l.aliased > maxAliased:
		l.faultAt(n, at, "more values that stand under aliases (*)", "at most %d in a file", maxAliased)
	default:
		return true
	}
	l.stopped = true
	return false
}

// refuse reports a node that can't be decoded, and keeps the checks off what it was to fill.
func (l *loader) refuse(n *yaml.Node, at *path, found, want string, args ...any) {
	l.faultAt(n, at, found, want, args...)
	l.refused[at.String()] = true
}

func (l *loader) decodeStruct(n *yaml.Node, v reflect.Value, at *path) {
	if n.Kind != yaml.MappingNode {
		l.refuse(n, at, kindOf(n), "a mapping, key: value")
		return
	}
	s := l.structType(v.Type())
	if s.defaults && at != nil { // the root has its own already
		v.Addr().Interface().(defaulter).SetDefaults()
	}
	var seen uint64 // by field
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolved(n.Content[i]), n.Content[i+1]
		field, known := s.fields[key.Value]
		if !known || key.Kind != yaml.ScalarNode {
			l.unknownKey(key, at, s.keys)
			continue
		}
		if seen&(1<<field) != 0 {
			l.faultAt(key, at.field(key.Value), "the key a second time", "it once")
			continue
		}
		seen |= 1 << field
		l.decode(value, v.Field(field), at.field(key.Value))
	}
}

func (l *loader) unknownKey(key *yaml.Node, at *path, known []string) {
	switch {
	case key.Kind != yaml.ScalarNode:
		l.faultAt(key, at, kindOf(key)+" for a key", "a name")
	case key.Value == "<<":
		l.faultAt(key, at.field("<<"), "a merge key", "the keys themselves; an alias (*) may stand for a whole value")
	default:
		want := "one of " + list(known, "and")
		if near := nearest(key.Value, known); near != "" {
			want = near + " (did you mean that?)"
		}
		l.faultAt(key, at.field(key.Value), fmt.Sprintf("unknown key %q", excerpt(key.Value)), "%s", want)
	}
}

func (l *loader) decodeList(n *yaml.Node, v reflect.Value, at *path) {
	if n.Kind != yaml.SequenceNode {
		l.refuse(n, at, kindOf(n), "a list, [one, two]")
		return
	}
	if l.nodes+len(n.Content) > maxNodes || l.inAlias && l.aliased+len(n.Content) > maxAliased {
		l.nodes += len(n.Content) // before memory is taken for them
		l.aliased += len(n.Content)
	}
	if len(n.Content) == 0 {
		v.SetZero()
		return
	}
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	v.Set(items)
	for i, item := range n.Content {
		if items.Index(i).Kind() == reflect.Pointer {
			items.Index(i).Set(reflect.New(v.Type().Elem().Elem())) // the checks look into refused ones, too
		}
		if resolved(item).ShortTag() == "!!null" {
			l.refuse(item, at.item(i), "nothing", "a value, or the item left out")
			continue
		}
		l.decode(item, items.Index(i), at.item(i))
	}
}

func (l *loader) decodeMap(n *yaml.Node, v reflect.Value, at *path) {
	if n.Kind != yaml.MappingNode {
		l.refuse(n, at, kindOf(n), "a mapping, name: value")
		return
	}
	if len(n.Content) == 0 {
		v.SetZero()
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	v.Set(m)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolved(n.Content[i])
		if key.Kind != yaml.ScalarNode {
			l.faultAt(key, at, kindOf(key)+" for a key", "a name")
			continue
		}
		name := reflect.ValueOf(key.Value)
		if m.MapIndex(name).IsValid() {
			l.faultAt(key, at.field(key.Value), "the key a second time", "it once")
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		l.decode(n.Content[i+1], value, at.field(key.Value))
		m.SetMapIndex(name, value)
	}
}

// isText accepts a scalar as text. A number is, as it is written: 0443 stays 0443.
func (l *loader) isText(n *yaml.Node, at *path) bool {
	if n.Kind != yaml.ScalarNode {
		l.refuse(n, at, kindOf(n), "text")
		return false
	}
	if n.ShortTag() == "!!bool" {
		l.refuse(n, at, n.Value, "text; in quotes where that is the text")
		return false
	}
	return true
}

// scalar returns the text of a number, boolean or duration, and whether ${NAME} gave it, in which
// case YAML knows nothing of its type.
func (l *loader) scalar(n *yaml.Node, at *path, want string) (text string, expanded, ok bool) {
	if n.Kind != yaml.ScalarNode {
		l.refuse(n, at, kindOf(n), "%s", want)
		return "", false, false
	}
	text, ok = l.expand(n, at)
	return text, text != n.Value, ok
}

func (l *loader) decodeInt(n *yaml.Node, v reflect.Value, at *path) {
	const want = "a whole number"
	text, expanded, ok := l.scalar(n, at, want)
	if !ok {
		return
	}
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n.ShortTag() != "!!int" && !expanded || strconv.FormatInt(i, 10) != text {
		l.refuse(n, at, describe(n), want)
		return
	}
	v.SetInt(i)
}

func (l *loader) decodeFloat(n *yaml.Node, v reflect.Value, at *path) {
	const want = "a number"
	text, expanded, ok := l.scalar(n, at, want)
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(text, 64)
	number := every(text, func(c byte) bool { return isDigit(c) || strings.IndexByte("+-.eE", c) >= 0 }) // no NaN, no 0x1p-2
	if tag := n.ShortTag(); err != nil || !number || tag != "!!float" && tag != "!!int" && !expanded {
		l.refuse(n, at, describe(n), want)
		return
	}
	v.SetFloat(f)
}

func (l *loader) decodeBool(n *yaml.Node, v reflect.Value, at *path) {
	const want = "true or false"
	text, expanded, ok := l.scalar(n, at, want)
	if !ok {
		return
	}
	if text != "true" && text != "false" || n.ShortTag() != "!!bool" && !expanded {
		l.refuse(n, at, describe(n), want)
		return
	}
	v.SetBool(text == "true")
}

func (l *loader) decodeDuration(n *yaml.Node, v reflect.Value, at *path) {
	const want = "a duration with its unit, such as 800ms, 30s or 1h30m"
	text, _, ok := l.scalar(n, at, want)
	if !ok {
		return
	}
	d, err := time.ParseDuration(text)
	if _, bare := strconv.ParseFloat(text, 64); bare == nil {
		l.refuse(n, at, describe(n)+" without a unit", want)
		return
	}
	if err != nil {
		l.refuse(n, at, describe(n), want)
		return
	}
	v.SetInt(int64(d))
}
