package schema

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// LoadOptions say where a configuration's ${NAME}, file:PATH and PEM files come from; nil is the process's
// own environment and file system. A test gives its own.
type LoadOptions struct {
	Getenv   func(name string) (string, bool)
	ReadFile func(path string) ([]byte, error)
	// Version is given to the projects read: which reading of the file this is, 1 and 0 for the first.
	Version uint64
}

// MaxConfig bounds a configuration file's length in bytes.
const MaxConfig = 32 << 20

// Load reads a configuration, the YAML text of the file called name, and checks all of it: keys,
// types, values and every reference from one part to another. What it returns can be used as it is:
// destinations are parsed, hours compiled, numbers without "+", paths relative to the file's folder
// resolved. An empty text gives the defaults.
//
// The error is Faults: every fault of the file, not just the first.
func Load(name string, text []byte, opts LoadOptions) (*Config, error) {
	if opts.Getenv == nil {
		opts.Getenv = os.LookupEnv
	}
	if opts.ReadFile == nil {
		opts.ReadFile = readNamed
	}
	l := newLoader(name, opts)
	c := &Config{}
	c.SetDefaults()
	l.root = l.parse(text)
	if len(l.faults) == 0 {
		l.decodeRoot(c)
		if !l.stopped {
			l.checkConfig(c)
		}
	}
	if err := l.outcome(); err != nil {
		return nil, err
	}
	for _, p := range c.Projects {
		p.ReadOnly, p.Version = name, max(1, opts.Version)
	}
	c.SaysProjects = l.saysProjects()
	c.Notes = l.notes
	return c, nil
}

// saysProjects reports whether the file says which projects there are, and notes where it doesn't.
func (l *loader) saysProjects() bool {
	var root *path
	at := root.field("projects")
	if !l.has(at) {
		l.note(at, "nothing, so that there are no projects but those that the API manages; write projects: [] where that is meant, as a reload refuses a file that has lost the key")
		return false
	}
	return true
}

// loader is one Load at work.
type loader struct {
	file   string
	opts   LoadOptions
	root   *yaml.Node // the document's value; nil for an empty one
	faults Faults
	notes  []string
	// refused holds the keys whose values could not be decoded: what such a key holds is not
	// checked any further, so that one mistake is one fault.
	refused map[string]bool

	types          map[reflect.Type]*structType
	nodes, aliased int                          // decoded so far, in all and through aliases
	inAlias        bool                         // what is decoded now stands under an alias
	stopped        bool                         // a limit was reached; decode no more
	pace           *Pace                        // of a tenant's; nil for a file, which is read where calls don't wait for it
	managed        bool                         // what is read is a tenant's, by the API: no ${NAME}, no files
	zones          map[string]*time.Location    // by name, as reading one is slow
	digests        map[string][sha256.Size]byte // of PEM files, by name, as many hooks may share one
	links          map[[sha256.Size]byte]*path  // the tokens of incoming links, and where they stand
}

// parse reads the text into a tree. It bounds what the YAML reader gets to see; that one bounds the
// depth of nesting itself.
func (l *loader) parse(text []byte) (root *yaml.Node) {
	if len(text) > MaxConfig {
		l.syntax(1, 1, fmt.Sprintf("%d bytes", len(text)), fmt.Sprintf("at most %d", MaxConfig))
		return nil
	}
	if !l.plainText(text) {
		return nil
	}
	defer func() {
		if cause := recover(); cause != nil {
			l.syntax(1, 1, "text that the YAML reader fails on", "YAML")
			root = nil
		}
	}()
	var first, second yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&first); err != nil {
		if !errors.Is(err, io.EOF) {
			l.syntaxError(err, text)
		}
		return nil
	}
	switch err := d.Decode(&second); {
	case err == nil:
		l.syntax(second.Line, second.Column, "a second document", "one document a file")
	case !errors.Is(err, io.EOF):
		l.syntaxError(err, text)
	}
	return first.Content[0]
}

// plainText refuses what no text editor writes; the YAML reader would too, without saying where.
func (l *loader) plainText(text []byte) bool {
	line, start := 1, 0
	for i := 0; i < len(text); {
		c, size := rune(text[i]), 1
		if c >= utf8.RuneSelf {
			c, size = utf8.DecodeRune(text[i:])
		}
		switch {
		case c == utf8.RuneError && size == 1:
			l.syntax(line, i-start+1, fmt.Sprintf("byte 0x%02x", text[i]), "text in UTF-8")
			return false
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c >= 0x7f && c < 0xa0 && c != 0x85, c == 0xfffe, c == 0xffff:
			l.syntax(line, i-start+1, fmt.Sprintf("control character %U", c), `text; in quotes "\x07" writes one`)
			return false
		case c == 0xfeff && i > 0:
			l.syntax(line, i-start+1, "a byte order mark", "one at the file's beginning only")
			return false
		case c == '\n':
			line, start = line+1, i+1
		}
		i += size
	}
	return true
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntaxError turns the YAML reader's error into a fault. The reader knows no columns.
func (l *loader) syntaxError(err error, text []byte) {
	problem, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(problem); m != nil {
		problem = problem[len(m[0]):]
		line, _ = strconv.Atoi(m[1])
		if strings.HasPrefix(problem, "did not find expected") && line <= bytes.Count(text, []byte("\n")) {
			line++ // of its parser, unlike its scanner, the reader counts lines from 0
		}
	}
	if anchor, ok := strings.CutPrefix(problem, "unknown anchor '"); ok {
		// The anchor is not shown: it is the secret where somebody left out the quotes around "*…".
		anchor = strings.TrimSuffix(anchor, "' referenced")
		before, _, _ := bytes.Cut(text, []byte("*"+anchor))
		line, problem = bytes.Count(before, []byte("\n"))+1, "an alias (*) of an anchor (&) that is nowhere"
	}
	l.syntax(line, 1, "a syntax error: "+problem, "YAML")
}

func (l *loader) syntax(line, column int, found, want string) {
	l.faults = append(l.faults, Fault{File: l.file, Line: line, Column: column, Key: "document", Found: found, Want: want})
}
