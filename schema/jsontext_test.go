package schema

import "testing"

func FuzzJSONSpecial(f *testing.F) {
	f.Add([]byte("12345678\"1234567\\123\x1f456\x80"), uint(0))
	f.Add([]byte("!!!!!!!!\"]]]]]]]\\   "), uint(3))
	f.Add([]byte("00000\x1a  0"), uint(7)) // what was found before shows in no byte behind it
	f.Fuzz(func(t *testing.T, text []byte, from uint) {
		at := int(from % uint(len(text)+1))
		want := at
		for want < len(text) && text[want] >= ' ' && text[want] < 0x80 && text[want] != '"' && text[want] != '\\' {
			want++
		}
		if got := JSONSpecial(text, at); got != want || JSONSpecial(string(text), at) != want {
			t.Fatalf("%q from %d: got %d; want %d", text, at, got, want)
		}
	})
}
