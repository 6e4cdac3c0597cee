package schema

import "math/bits"

// JSONSpecial returns the place, from i on, of the first byte of t that does not stand for itself within a JSON
// string (RFC 8259, 7), or may not: a quote, a backslash, a control character, one beyond ASCII; len(t) where
// there is none. It looks at eight bytes at a time: a byte of v ^ word is 0 where v has the wanted one, and
// subtracting borrows from it.
func JSONSpecial[T string | []byte](t T, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for i < len(t) {
		at := i
		if at+8 > len(t) {
			if at = len(t) - 8; at < 0 {
				break
			}
		}
		w := t[at : at+8]
		v := uint64(w[0]) | uint64(w[1])<<8 | uint64(w[2])<<16 | uint64(w[3])<<24 |
			uint64(w[4])<<32 | uint64(w[5])<<40 | uint64(w[6])<<48 | uint64(w[7])<<56
		v = v>>(8*(i-at)) | ones*'0'<<(64-8*(i-at)) // from i on, and behind the end what stands for itself
		quote, slash := v^(ones*'"'), v^(ones*'\\')
		found := (v | (quote-ones)&^quote | (slash-ones)&^slash | (v-ones*' ')&^v) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
		i = at + 8
	}
	for ; i < len(t); i++ {
		if c := t[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
			break
		}
	}
	return i
}
