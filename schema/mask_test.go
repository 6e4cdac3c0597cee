package schema

import "testing"

func TestMaskNumbersHidesTheMiddleOfEachNumberInAText(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", ""},
		{"status 500 Internal Server Error; want 2xx", "status 500 Internal Server Error; want 2xx"},
		{"no answer from 127.0.0.1:8079 within 800 ms", "no answer from 127.0.0.1:8079 within 800 ms"},
		{"380441111111", "380*******11"},
		{"380441111111,380900111222&3", "380*******11,380*******22&3"},
		{`dst_phone: destination 2 is "+38 (044) 111-22-33": no`, `dst_phone: destination 2 is "+38 (0**) ***-**-33": no`},
		{"12345 is an extension, 123456 a number", "12345 is an extension, 123*56 a number"},
		{"дзвонить 380441111111 сюди", "дзвонить 380*******11 сюди"},
	} {
		if got := MaskNumbers(tc.text); got != tc.want {
			t.Errorf("%q becomes %q; want %q", tc.text, got, tc.want)
		}
	}
}
