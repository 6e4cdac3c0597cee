package schema

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxResource bounds the JSON text of one element in bytes.
const maxResource = 4 << 20

// DecodeResource fills into, a pointer to a Project or to an element of one (Number, Scheme, Hook,
// IntakeRename, Webhook, Incoming), from JSON text by the rules and the code that read a
// configuration file: the same keys, strictly; the same defaults for what is left out; durations as
// text. What it refers to is not checked; CheckProject does that.
//
// The text is a tenant's, who must not read this machine's environment or files: ${NAME} stays as it
// is, and a secret that begins with "file:" is refused.
//
// The error is Faults whose Keys are paths from the element, "steps[0].dial[1]".
func DecodeResource(text []byte, into any) error {
	l := newLoader("", LoadOptions{})
	l.managed, l.pace = true, new(Pace)
	v := reflect.ValueOf(into).Elem()
	if l.root = l.parseJSON(text); len(l.faults) == 0 {
		v.SetZero()
		if d, ok := into.(defaulter); ok {
			d.SetDefaults()
		}
		l.decode(l.root, v, nil)
	}
	return l.outcome()
}

// outcome is the loader's faults in order, nil for none.
func (l *loader) outcome() error {
	if len(l.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(l.faults, Fault.compare)
	return l.faults
}

func newLoader(file string, opts LoadOptions) *loader {
	return &loader{file: file, opts: opts, refused: map[string]bool{}, types: map[reflect.Type]*structType{}, zones: map[string]*time.Location{}, digests: map[string][sha256.Size]byte{}}
}

// parseJSON reads JSON into the tree that the decoder knows. The YAML reader would not do: JSON may be
// indented by tabs, and writes a smile as two escapes.
func (l *loader) parseJSON(text []byte) *yaml.Node {
	if len(text) > maxResource {
		l.syntax(1, 1, fmt.Sprintf("%d bytes", len(text)), fmt.Sprintf("at most %d", maxResource))
		return nil
	}
	j := jsonReader{text: text, line: 1, dec: json.NewDecoder(bytes.NewReader(text))}
	j.dec.UseNumber()
	n, err := j.value(0)
	if err == nil {
		if _, more := j.dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something after the value's end")
		}
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the text ends too early")
		}
		line, column := j.place(j.dec.InputOffset())
		l.syntax(line, column, "a syntax error: "+oneLine(err), "a JSON object")
		return nil
	}
	if n.Kind != yaml.MappingNode {
		l.syntax(1, 1, kindOf(n), "a JSON object")
		return nil
	}
	return n
}

// oneLine: encoding/json quotes the character that it stumbled over.
func oneLine(err error) string { return fmt.Sprintf("%.200s", err) }

// jsonReader makes a tree of JSON text.
type jsonReader struct {
	text       []byte
	dec        *json.Decoder
	seen, line int // how far lines have been counted, and the line there
	start      int // of that line
	nodes      int
}

// place returns the line and column of what stands before offset. Offsets only grow.
func (j *jsonReader) place(offset int64) (line, column int) {
	for ; j.seen < int(offset) && j.seen < len(j.text); j.seen++ {
		if j.text[j.seen] == '\n' {
			j.line, j.start = j.line+1, j.seen+1
		}
	}
	return j.line, max(1, j.seen-j.start)
}

func (j *jsonReader) value(depth int) (*yaml.Node, error) {
	token, err := j.dec.Token()
	if err != nil {
		return nil, err
	}
	if j.nodes++; depth > 2*maxDepth || j.nodes > maxNodes {
		return nil, fmt.Errorf("more than %d levels, or %d values", 2*maxDepth, maxNodes)
	}
	n := &yaml.Node{Kind: yaml.ScalarNode}
	n.Line, n.Column = j.place(j.dec.InputOffset())
	switch t := token.(type) {
	case json.Delim:
		n.Kind = yaml.SequenceNode
		if t == '{' {
			n.Kind = yaml.MappingNode
		}
		for j.dec.More() {
			part, err := j.value(depth + 1) // a key comes as a string of its own
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, part)
		}
		_, err := j.dec.Token() // the end
		return n, err
	case string:
		n.Tag, n.Value, n.Style = "!!str", t, yaml.DoubleQuotedStyle
	case json.Number:
		n.Value = t.String()
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(t)
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, nil
}
