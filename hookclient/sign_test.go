package hookclient

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"hookswitch/schema"
)

const (
	encodedSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	textSecret    = "just a passphrase, з літерами"
)

func signedRequest(t *testing.T, secret, next string, send string) (http.Header, []byte) {
	t.Helper()
	h := &schema.Hook{Method: "POST", Send: send, RPCMethod: "route", Sign: schema.NewSecret(secret), Sign2: schema.NewSecret(next)}
	b, err := newBuilder(h, "http://crm.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(built(t, b, documentedCall()))))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header, body
}

// TestSignatureVerifiesElsewhere asks the library of the standard's authors.
func TestSignatureVerifiesElsewhere(t *testing.T) {
	byText, err := standardwebhooks.NewWebhookRaw([]byte(textSecret))
	if err != nil {
		t.Fatal(err)
	}
	byCode, err := standardwebhooks.NewWebhook(encodedSecret)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		secret, next   string
		text, code     bool
		wantSignatures int
	}{
		"a secret as handed out":                    {encodedSecret, "", false, true, 1},
		"any text":                                  {textSecret, "", true, false, 1},
		"both while the key is rotated":             {encodedSecret, textSecret, true, true, 2},
		"the next one alone, the old being retired": {"", textSecret, true, false, 1},
	} {
		for _, send := range []string{"json", "form", "xml", "headers"} {
			t.Run(name+", "+send, func(t *testing.T) {
				header, body := signedRequest(t, tc.secret, tc.next, send)
				if got := byText.VerifyIgnoringTimestamp(body, header) == nil; got != tc.text {
					t.Errorf("verified by the text: %v; want %v", got, tc.text)
				}
				if got := byCode.VerifyIgnoringTimestamp(body, header) == nil; got != tc.code {
					t.Errorf("verified by the encoded secret: %v; want %v", got, tc.code)
				}
				if n := len(strings.Fields(header.Get("webhook-signature"))); n != tc.wantSignatures {
					t.Errorf("%d signatures; want %d", n, tc.wantSignatures)
				}
				if got := header.Get("webhook-timestamp"); got != "1770091506" {
					t.Errorf("timestamp %q", got)
				}
				if byText.VerifyIgnoringTimestamp(append(body, ' '), header) == nil || byCode.VerifyIgnoringTimestamp(append(body, ' '), header) == nil {
					t.Error("a changed body still verifies")
				}
			})
		}
	}
}

func TestMessageIDs(t *testing.T) {
	for call, want := range map[string]string{
		"3333333333.3333333":     "msg_3333333333-3333333-7",
		"":                       "msg_-7",
		"a\r\nb дзвінок":         "msg_a--b----------------7",
		strings.Repeat("x", 200): "msg_" + strings.Repeat("x", 64) + "-7",
	} {
		if got := string(appendMessageID(nil, call, 7)); got != want {
			t.Errorf("%q became %q; want %q", call, got, want)
		}
	}
	if a, b := appendMessageID(nil, "c", 1), appendMessageID(nil, "c", 2); bytes.Equal(a, b) {
		t.Errorf("two requests of a call have one id, %s", a)
	}
}

func TestSigningDoesNotDisturbWhatStandsBefore(t *testing.T) {
	s, err := newSigner(schema.NewSecret(encodedSecret), schema.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []int{0, 1000} {
		got := s.appendSignatures(append(make([]byte, 0, room), "before "...), "msg_1", time.Unix(1, 0), []byte("{}"))
		if !bytes.HasPrefix(got, []byte("before v1,")) || len(got) != len("before v1,")+44 {
			t.Errorf("got %q", got)
		}
	}
}
