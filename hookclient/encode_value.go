package hookclient

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"hookswitch/schema"
)

// value is where one value of a request comes from: a tag, or text with tags; then, where asked
// for, hashed.
type value struct {
	tag    schema.Tag
	text   *schema.Template // nil where tag is meant
	hash   hashKind
	layout string // of the date, where the PBX gave none
}

// hashKind is a digest sent in place of a value.
type hashKind uint8

const (
	noHash hashKind = iota
	hashMD5
	hashCRC32
	hashSHA1
	hashSHA256
)

func hashNamed(name string) (hashKind, error) {
	switch name {
	case "":
		return noHash, nil
	case "md5":
		return hashMD5, nil
	case "crc32":
		return hashCRC32, nil
	case "sha1":
		return hashSHA1, nil
	case "sha256":
		return hashSHA256, nil
	}
	return noHash, fmt.Errorf("found %q; want md5, crc32, sha1 or sha256", name)
}

// appendSum appends the digest of what b holds from start on, in its place: lower-case hex, CRC-32
// (IEEE) as 8 digits.
func (k hashKind) appendSum(b []byte, start int) []byte {
	switch data := b[start:]; k {
	case hashMD5:
		sum := md5.Sum(data)
		return hex.AppendEncode(b[:start], sum[:])
	case hashCRC32:
		sum := crc32.ChecksumIEEE(data)
		return hex.AppendEncode(b[:start], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	case hashSHA1:
		sum := sha1.Sum(data)
		return hex.AppendEncode(b[:start], sum[:])
	case hashSHA256:
		sum := sha256.Sum256(data)
		return hex.AppendEncode(b[:start], sum[:])
	}
	return b
}

// filling is one build under way: the call whose values are filled in, and the memory used for it.
type filling struct {
	call *schema.Call
	now  time.Time // in the hook's time zone
	out  []byte    // the request
	body []byte    // its body
	val  []byte    // one value on its way there
	line []byte    // one header's value
	// names are where the parameters' names stand in what they are written to.
	names []span

	request request // what out is given away as
}

var fillings = sync.Pool{New: func() any { return &filling{out: make([]byte, 0, 2048), val: make([]byte, 0, 256)} }}

// maxKeptBuffer bounds what one unusually large request leaves behind in the pool.
const maxKeptBuffer = 64 << 10

func (f *filling) release() {
	if cap(f.out)+cap(f.body)+cap(f.val)+cap(f.line) > maxKeptBuffer {
		return
	}
	f.request = request{}
	fillings.Put(f)
}

// get returns the value for this call; it lives until the next get.
func (v *value) get(f *filling) string {
	if v.text == nil && v.hash == noHash {
		return f.tag(&v.tag, v.layout)
	}
	if v.text == nil {
		s := f.tag(&v.tag, v.layout)
		f.val = append(f.val[:0], s...) // s may be f.val itself, which append allows
	} else {
		f.val = f.val[:0]
		for _, part := range v.text.Parts() {
			f.val = append(f.val, part.Literal...)
			if part.Tag != nil {
				f.val = f.appendTag(f.val, part.Tag, v.layout)
			}
		}
	}
	f.val = v.hash.appendSum(f.val, 0)
	return view(f.val)
}

// tag returns what a tag stands for. A date that the PBX did not give is now.
func (f *filling) tag(t *schema.Tag, layout string) string {
	if p, ok := t.Param(); ok && p == schema.ParamDate && !f.call.Said(p) {
		f.val = appendDate(f.val[:0], f.now, layout)
		return view(f.val)
	}
	return t.Value(f.call)
}

func (f *filling) appendTag(b []byte, t *schema.Tag, layout string) []byte {
	if p, ok := t.Param(); ok && p == schema.ParamDate && !f.call.Said(p) {
		return appendDate(b, f.now, layout)
	}
	return append(b, t.Value(f.call)...)
}

// view is b as a string, without a copy: only until b is written to again.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// unixDate is the layout that stands for whole seconds since 1970.
const unixDate = "unix"

func appendDate(b []byte, t time.Time, layout string) []byte {
	if layout == unixDate {
		return strconv.AppendInt(b, t.Unix(), 10)
	}
	return t.AppendFormat(b, layout)
}

// phpDate gives Go's layout for each letter of PHP's date() that has one.
var phpDate = map[byte]string{
	'd': "02", 'j': "2", 'D': "Mon", 'l': "Monday", 'm': "01", 'n': "1", 'M': "Jan", 'F': "January",
	'Y': "2006", 'y': "06", 'H': "15", 'h': "03", 'g': "3", 'i': "04", 's': "05", 'A': "PM", 'a': "pm",
	'P': "-07:00", 'O': "-0700", 'T': "MST", 'c': "2006-01-02T15:04:05-07:00",
}

// dateLayout reads a configured date format: one of Go's, which has digits ("02.01.2006 15:04"), one
// of PHP's, which has none ("d.m.Y H:i", a backslash before a letter that is text), or "unix". Empty
// means what otherwise is.
func dateLayout(format, otherwise string) (string, error) {
	switch {
	case format == "":
		return otherwise, nil
	case format == unixDate || strings.ContainsAny(format, "0123456789"):
		return format, nil
	case format == "U":
		return unixDate, nil
	}
	var layout strings.Builder
	for i := 0; i < len(format); i++ {
		c := format[i]
		switch goes, known := phpDate[c]; {
		case c == '\\' && i+1 < len(format):
			i++
			layout.WriteByte(format[i])
		case known:
			layout.WriteString(goes)
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			return "", fmt.Errorf("letter %q in %q; want Go's layout (2006-01-02 15:04:05), PHP's (Y-m-d H:i:s) or unix", c, format)
		default:
			layout.WriteByte(c)
		}
	}
	return layout.String(), nil
}
