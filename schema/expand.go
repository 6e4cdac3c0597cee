package schema

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxSecretFile bounds a file:PATH's content in bytes.
	maxSecretFile = 64 << 10
	// MaxPEM bounds a PEM file's length: the bundles of systems have some 200 KiB.
	MaxPEM = 4 << 20
)

// expand replaces, in a file's text, every ${NAME} of a scalar by the environment's value, and $${ by ${. A value that
// was put in is not looked at again, so an environment can't name further variables or files.
func (l *loader) expand(n *yaml.Node, at *path) (text string, ok bool) {
	rest := n.Value
	if l.managed || !strings.Contains(rest, "${") {
		return rest, true
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			out.WriteString(rest)
			return out.String(), true
		}
		if strings.HasSuffix(before, "$") {
			out.WriteString(before)
			out.WriteString("{")
			rest = after
			continue
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || !isVariable(name) {
			// The text isn't shown: it may be a secret of which "${" is just a part.
			l.refuse(n, at, `"${" without a variable's name and "}"`, "${NAME}, or $${ for the two characters themselves")
			return "", false
		}
		value, set := l.opts.Getenv(name)
		if !set {
			l.refuse(n, at, "${"+name+"}, which is not set", "the environment variable %s", name)
			return "", false
		}
		out.WriteString(before)
		out.WriteString(value)
		rest = tail
	}
}

func isVariable(name string) bool {
	return name != "" && !isDigit(name[0]) && every(name, func(c byte) bool { return isAlphanumeric(c) || c == '_' })
}

// secret is expand for a Secret's scalar, which may also be file:PATH: the file's content, without
// the newline that editors put at its end.
func (l *loader) secret(n *yaml.Node, at *path) (Secret, bool) {
	text, ok := l.expand(n, at)
	if !ok {
		return Secret{}, false
	}
	if !strings.HasPrefix(n.Value, "file:") {
		return NewSecret(text), true
	}
	if l.managed {
		l.refuse(n, at, "file:", "the secret itself; files are read for the configuration file only")
		return Secret{}, false
	}
	name := l.beside(strings.TrimPrefix(text, "file:"))
	content, err := l.opts.ReadFile(name)
	if err != nil {
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err // it names the file too
		}
		l.refuse(n, at, describe(n)+" ("+err.Error()+")", "a file that can be read")
		return Secret{}, false
	}
	if len(content) > maxSecretFile {
		l.refuse(n, at, describe(n)+", a larger file", "one of at most %d bytes", maxSecretFile)
		return Secret{}, false
	}
	text = strings.TrimSuffix(string(content), "\n")
	return NewSecret(strings.TrimSuffix(text, "\r")), true
}

// readNamed reads a file that the configuration names: a secret or a PEM file.
func readNamed(name string) ([]byte, error) { return ReadRegular(name, MaxPEM) }

// contentsOf returns TLS.Contents. A file that can't be read has none here: who makes the hook ready says so.
func (l *loader) contentsOf(t *TLS) (sum [sha256.Size]byte) {
	if t.CA == "" && t.Cert == "" {
		return sum
	}
	all := sha256.New()
	for _, name := range []string{t.CA, t.Cert, t.Key} {
		one, known := l.digests[name]
		if !known && name != "" {
			if text, err := l.opts.ReadFile(name); err == nil {
				one = sha256.Sum256(text)
			}
			l.digests[name] = one
		}
		all.Write(one[:])
	}
	return [sha256.Size]byte(all.Sum(nil))
}

// beside returns a path as seen from the configuration file's folder.
func (l *loader) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(l.file), name)
}
