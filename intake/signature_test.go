package intake

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// What Twilio's own libraries test themselves with (client/request_validator_test.go of
// twilio/twilio-go): the token is 12345, and the back end signs with or without the port.
func TestTwiliosOwnSignaturesAreKnown(t *testing.T) {
	for name, x := range map[string]struct {
		public, signature string
		known             bool
	}{
		"as it is":                    {"https://mycompany.com", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", true},
		"with the port it leaves out": {"https://mycompany.com", "kvajT1Ptam85bY51eRf/AJRuM3w=", true},
		"without the port it has":     {"https://mycompany.com:1234", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", true},
		"over http":                   {"http://mycompany.com", "0ZXoZLH/DfblKGATFgpif+LLRf4=", true},
		"over http with its port":     {"http://mycompany.com:1234", "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=", true},
		"of another host":             {"https://mycompany.example", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", false},
		"none":                        {"https://mycompany.com", "", false},
		"no base64":                   {"https://mycompany.com", "%%%", false},
	} {
		keys, err := newSignatures(schema.Intake{PublicURL: x.public, TwiMLAuthToken: schema.NewSecret("12345")})
		if err != nil {
			t.Fatal(err)
		}
		body := "To=%2B18005551212&Digits=1234&CallSid=CA1234567890ABCDE&Caller=%2B14158675309&From=%2B14158675309"
		ctx := newContext("POST", "", "application/x-www-form-urlencoded", []byte(body))
		ctx.Request.SetRequestURI("/myapp.php?foo=1&bar=2")
		ctx.Request.Header.Set("X-Twilio-Signature", x.signature)
		f, set := twilioSigned(&keys, new(question), ctx)
		if !set || (f == nil) != x.known || f != nil && f.code != codeForbidden {
			t.Errorf("%s: got %+v, %v; want known %v", name, f, set, x.known)
		}
	}
}

const (
	twilioToken   = "0123456789abcdef0123456789abcdef"
	jambonzSecret = "wh_secret_0123456789"
	publicURL     = "https://pbx.example"
)

// signedSite is open to bearers of a token, and to what Twilio and jambonz sign.
func signedSite(t *testing.T) *site {
	return start(t, func(o *Options) {
		o.Settings.Tokens = []schema.Secret{schema.NewSecret("a-token-of-the-pbx")}
		o.Settings.PublicURL = publicURL
		o.Settings.TwiMLAuthToken = schema.NewSecret(twilioToken)
		o.Settings.JambonzSecret = schema.NewSecret(jambonzSecret)
	})
}

// bySignTwilio signs as Twilio documents it, by the standard library's reading of the form.
func bySignTwilio(path, form string) string {
	text := publicURL + path
	values, _ := url.ParseQuery(form)
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text += name + values.Get(name)
	}
	mac := hmac.New(sha1.New, []byte(twilioToken))
	mac.Write([]byte(text))
	return "X-Twilio-Signature: " + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func bySignJambonz(at time.Time, body string) string {
	mac := hmac.New(sha256.New, []byte(jambonzSecret))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	return fmt.Sprintf("Jambonz-Signature: t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

func TestASignatureStandsInForATokenAndNothingElseDoes(t *testing.T) {
	s := signedSite(t)
	const (
		form, other = "To=%2B380442223344&CallSid=CA1&CallerName=A+%26+B%3D", "To=%2B380442223344&CallSid=CA2&CallerName="
		twiml, json = "Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json"
		call        = `{"to":"380442223344","call_sid":"a"}`
		token       = "Authorization: Bearer a-token-of-the-pbx"
	)
	for _, x := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
	}{
		{"Twilio's form", "POST", "/v1/route/twiml", form, []string{twiml, bySignTwilio("/v1/route/twiml", form)}, 200},
		{"Twilio's query", "GET", "/v1/route/twiml?" + form, "", []string{bySignTwilio("/v1/route/twiml?"+form, "")}, 200},
		{"Twilio's action", "POST", "/v1/route/twiml?cursor=c&callee=1", form, []string{twiml, bySignTwilio("/v1/route/twiml?cursor=c&callee=1", form)}, 200},
		{"Twilio at the format's own parameter", "POST", "/v1/route?format=twiml", form, []string{twiml, bySignTwilio("/v1/route?format=twiml", form)}, 200},
		{"another form than was signed", "POST", "/v1/route/twiml", other, []string{twiml, bySignTwilio("/v1/route/twiml", form)}, 403},
		{"another URL than was signed", "POST", "/v1/route/twiml?project=1", form, []string{twiml, bySignTwilio("/v1/route/twiml", form)}, 403},
		{"a form under no type, which is read as one", "POST", "/v1/route/twiml", form, []string{bySignTwilio("/v1/route/twiml", "")}, 403},
		{"JSON, which Twilio's signature doesn't cover", "POST", "/v1/route/twiml", call, []string{json, bySignTwilio("/v1/route/twiml", "")}, 403},
		{"twiml without a signature", "POST", "/v1/route/twiml", form, []string{twiml}, 403},
		{"twiml with a token alone", "POST", "/v1/route/twiml", form, []string{twiml, token}, 403},
		{"the body changes the format after the door", "POST", "/v1/route?format=twiml", form + "&format=json", []string{twiml, bySignTwilio("/v1/route?format=twiml", form+"&format=json")}, 401},
		{"the body makes it twiml behind a token", "POST", "/v1/route", form + "&format=twiml", []string{twiml, token}, 403},
		{"jambonz' body", "POST", "/v1/route/jambonz", call, []string{json, bySignJambonz(noon, call)}, 200},
		{"jambonz' body, its clock behind", "POST", "/v1/route/jambonz", call, []string{json, bySignJambonz(noon.Add(-4*time.Minute), call)}, 200},
		{"jambonz' body, too long ago", "POST", "/v1/route/jambonz", call, []string{json, bySignJambonz(noon.Add(-6*time.Minute), call)}, 403},
		{"jambonz' body, not yet", "POST", "/v1/route/jambonz", call, []string{json, bySignJambonz(noon.Add(6*time.Minute), call)}, 403},
		{"another body than was signed", "POST", "/v1/route/jambonz", call + " ", []string{json, bySignJambonz(noon, call)}, 403},
		{"two signatures while the secret is changed", "POST", "/v1/route/jambonz", call, []string{json, bySignJambonz(noon, call) + ",v1=00"}, 200},
		{"a time that was not signed", "POST", "/v1/route/jambonz", call, []string{json, strings.Replace(bySignJambonz(noon.Add(-time.Hour), call), fmt.Sprint(noon.Add(-time.Hour).Unix()), fmt.Sprint(noon.Unix()), 1)}, 403},
		{"jambonz by GET, which it doesn't sign", "GET", "/v1/route/jambonz?to=1", "", []string{bySignJambonz(noon, "")}, 403},
		{"jambonz without a signature", "POST", "/v1/route/jambonz", call, []string{json}, 403},
		{"jambonz with a token alone", "POST", "/v1/route/jambonz", call, []string{json, token}, 403},
		{"another format with a token", "GET", "/v1/route/plain?callee=1", "", []string{token}, 200},
		{"another format with Twilio's signature", "POST", "/v1/route/plain", form, []string{twiml, bySignTwilio("/v1/route/plain", form)}, 401},
	} {
		answer, body := s.do(t, x.method, x.path, x.body, x.headers...)
		if answer.StatusCode != x.status {
			t.Errorf("%s: %d %s; want %d", x.name, answer.StatusCode, body, x.status)
		}
		if strings.Contains(body, twilioToken) || strings.Contains(body, jambonzSecret) {
			t.Errorf("%s: a secret shows: %s", x.name, body)
		}
	}
	_, body := s.do(t, "POST", "/v1/route/twiml", form, twiml)
	if verbs := readTwiMLAnswer(t, body); len(verbs) != 1 || verbs[0].XMLName.Local != "Reject" || !strings.Contains(body, "<!-- forbidden -->") {
		t.Errorf("the refusal is not TwiML: %s", body)
	}
	_, body = s.do(t, "POST", "/v1/route/jambonz", call, json)
	if verbs := readJambonzAnswer(t, []byte(body)); verbs[0].Verb != "sip:decline" || verbs[0].Reason != "forbidden" {
		t.Errorf("the refusal is not jambonz': %s", body)
	}
}

func TestSecretsAreTakenOverByAReloadWithWhatTheyNeed(t *testing.T) {
	s := start(t)
	in := testSettings()
	in.TwiMLAuthToken = schema.NewSecret(twilioToken)
	if err := s.Apply(in); err == nil || !strings.Contains(err.Error(), "intake.public_url") {
		t.Errorf("Apply without a public URL: %v; want an error that names it", err)
	}
	if answer, body := s.do(t, "GET", "/v1/route/twiml?To=1", ""); answer.StatusCode != 200 {
		t.Errorf("faulty settings were applied: %d %s", answer.StatusCode, body)
	}
	in.PublicURL = publicURL
	if err := s.Apply(in); err != nil {
		t.Fatal(err)
	}
	if answer, _ := s.do(t, "GET", "/v1/route/twiml?To=1", ""); answer.StatusCode != 403 {
		t.Errorf("after the reload: %d; want 403", answer.StatusCode)
	}
}
