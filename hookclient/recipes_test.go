package hookclient

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookswitch/schema"
)

// TestRecipes loads every recipe as an operator would, and holds what it sends of one call to a golden
// file.
func TestRecipes(t *testing.T) {
	files, err := filepath.Glob("../configs/recipes/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %v (%v); want all recipes", files, err)
	}
	e := documentedEvent()
	e.Values = append(e.Values, schema.Custom{Name: "gaid", Value: "1479099944.1534841744"}, schema.Custom{Name: "fullnum", Value: "+380441112233"},
		schema.Custom{Name: "recording_wav", Value: "https://pbx.example/r/1.wav?token=46"})
	const variables = `{"parent_ticket_id":"4711","b24_call":"externalCall.5c4f"}`
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := schema.Load(file, text, schema.LoadOptions{Getenv: func(name string) (string, bool) { return "env-" + strings.ToLower(name), true }})
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range cfg.Projects[0].Webhooks {
			name := fmt.Sprintf("recipe_%s_%d", strings.TrimSuffix(filepath.Base(file), ".yaml"), i+1)
			t.Run(name, func(t *testing.T) {
				raw, sent := sendOnTheWire(t, &w, e, variables)
				if sent.Status != 200 {
					t.Fatalf("sent: %+v", sent)
				}
				golden(t, filepath.Join("testdata", "webhooks", name+".golden"), raw)
				r, body := parsed(t, raw)
				if strings.Contains(r.Header.Get("Content-Type"), "json") && !json.Valid(body) {
					t.Errorf("not JSON: %s", body)
				}
				for _, secret := range []string{"env-sms_password", "env-desk_key", "env-ga_secret"} {
					if strings.Contains(sent.Request, secret) {
						t.Errorf("%s is shown in %s", secret, sent.Request)
					}
				}
			})
		}
	}
}
