package admin

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

func openBolt(t *testing.T) *store.Bolt {
	t.Helper()
	s, err := store.OpenBolt(t.Context(), filepath.Join(t.TempDir(), "hookswitch.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// eventually waits for what happens beside the test.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s for: %s", what)
		}
	}
}

// followed returns tokens that follow the store until the test's end.
func followed(t *testing.T, s store.Store) *tokens {
	t.Helper()
	k := newTokens(s, zap.NewNop())
	k.apply(nil)
	ctx, cancel := context.WithCancel(context.Background())
	k.follow(ctx)
	t.Cleanup(func() { cancel(); k.wait() })
	return k
}

func TestATokenMadeOrRevokedByOneInstanceIsKnownToAnother(t *testing.T) {
	s, now := openBolt(t), time.Now()
	one, other := followed(t, s), followed(t, s)
	made, text, err := CreateToken(t.Context(), s, "ops", NewToken{Name: "ci", Scopes: []string{"read"}, Project: "1001"}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*tokens{one, other} {
		eventually(t, "the token to be known", func() bool { return k.find(text, now) != nil })
		if who := k.find(text, now); who.name != "ci" || who.project != "1001" || !who.may("read") || who.may("write") || who.may("admin") {
			t.Errorf("found %+v; want ci, who may read project 1001", who)
		}
	}
	if _, err := RevokeToken(t.Context(), s, made.ID); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*tokens{one, other} {
		eventually(t, "the token to be forgotten", func() bool { return k.find(text, now) == nil })
	}
	if _, err := RevokeToken(t.Context(), s, made.ID); err == nil {
		t.Error("revoking twice: found no error; want that there is none of that id")
	}
}

func TestATokenIsKeptAsItsHashOnly(t *testing.T) {
	s := openBolt(t)
	made, text, err := CreateToken(t.Context(), s, "ops", NewToken{Name: "ci", Scopes: []string{"read"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(text) < 43 {
		t.Errorf("found a token of %d characters; want 256 bits, 43 at least", len(text))
	}
	doc, err := s.GetDoc(t.Context(), tokenKind, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(doc.Body), strings.TrimPrefix(text, "hsw_")) {
		t.Errorf("the document shows the token: %s", doc.Body)
	}
	list, err := ListTokens(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Hash != "" || made.Hash != "" {
		t.Errorf("found %+v and %+v; want one token, without its hash", list, made)
	}
}

func TestATokenIsGoodUntilItExpires(t *testing.T) {
	s, now := openBolt(t), time.Now()
	k := followed(t, s)
	end := now.Add(time.Hour)
	_, text, err := CreateToken(t.Context(), s, "ops", NewToken{Name: "ci", Scopes: []string{"read"}, Expires: &end}, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k.find(text, end.Add(-time.Millisecond)) == nil {
		t.Error("a millisecond before its end: found nobody's token; want it good")
	}
	if k.find(text, end) != nil {
		t.Error("at its end: found it good; want it over")
	}
}

func TestATokensUseIsWrittenDownOnceAMinute(t *testing.T) {
	s, now := openBolt(t), time.Now().UTC().Truncate(time.Second)
	k := followed(t, s)
	_, text, err := CreateToken(t.Context(), s, "ops", NewToken{Name: "ci", Scopes: []string{"read"}}, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := s.Change(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lastUsed := func() string {
		list, err := ListTokens(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if list[0].LastUsed == nil {
			return ""
		}
		return list[0].LastUsed.Format(time.RFC3339)
	}
	k.find(text, now)
	k.find(text, now.Add(59*time.Second))
	k.writing.Wait()
	if found, want := lastUsed(), now.Format(time.RFC3339); found != want {
		t.Errorf("after two uses: found %q; want the first, %q", found, want)
	}
	k.find(text, now.Add(time.Minute))
	k.writing.Wait()
	if found, want := lastUsed(), now.Add(time.Minute).Format(time.RFC3339); found != want {
		t.Errorf("a minute later: found %q; want %q", found, want)
	}
	if after, err := s.Change(t.Context()); err != nil || after != before {
		t.Errorf("found change %d, %v; want %d: a use is no change that others wake for", after, err, before)
	}
}

func TestATokenThatCannotBeIsRefusedByItsField(t *testing.T) {
	now := time.Now()
	past := now.Add(-time.Second)
	for name, tc := range map[string]struct {
		token NewToken
		field string
	}{
		"without a name":             {NewToken{Scopes: []string{"read"}}, "name"},
		"with too long a name":       {NewToken{Name: strings.Repeat("x", 65), Scopes: []string{"read"}}, "name"},
		"without scopes":             {NewToken{Name: "ci"}, "scopes"},
		"with an unknown scope":      {NewToken{Name: "ci", Scopes: []string{"read", "root"}}, "scopes[1]"},
		"with admin for one project": {NewToken{Name: "ci", Scopes: []string{"admin"}, Project: "1001"}, "scopes[0]"},
		"that is over already":       {NewToken{Name: "ci", Scopes: []string{"read"}, Expires: &past}, "expires"},
	} {
		s := openBolt(t)
		_, _, err := CreateToken(t.Context(), s, "ops", tc.token, now)
		faults, ok := err.(schema.Faults)
		if !ok || len(faults) != 1 || faults[0].Key != tc.field {
			t.Errorf("a token %s: found %v; want a fault of %s", name, err, tc.field)
		}
		if list, err := ListTokens(t.Context(), s); err != nil || len(list) != 0 {
			t.Errorf("a token %s: found %v, %v kept; want none", name, list, err)
		}
	}
}

func TestATokenOfTheFileThatMayWriteAndIsBoundToNoProjectIsAnAdministrators(t *testing.T) {
	k := newTokens(nil, zap.NewNop())
	now := time.Now()
	k.apply([]schema.Token{
		{Name: "ops", Token: schema.NewSecret("ops-token-of-the-file"), Scopes: []string{"read", "write"}},
		{Name: "eye", Token: schema.NewSecret("eye-token-of-the-file"), Scopes: []string{"read"}},
		{Name: "own", Token: schema.NewSecret("own-token-of-the-file"), Scopes: []string{"read", "write"}, Project: "1001"},
	})
	for _, tc := range []struct {
		token, name        string
		read, write, admin bool
	}{
		{"ops-token-of-the-file", "ops", true, true, true},
		{"eye-token-of-the-file", "eye", true, false, false},
		{"own-token-of-the-file", "own", true, true, false},
	} {
		who := k.find(tc.token, now)
		if who == nil || who.name != tc.name || who.may("read") != tc.read || who.may("write") != tc.write || who.may("admin") != tc.admin {
			t.Errorf("%s: found %+v; want %+v", tc.token, who, tc)
		}
	}
	for _, wrong := range []string{"", "ops", "ops-token-of-the-fil", "ops-token-of-the-filex", "Ops-token-of-the-file"} {
		if who := k.find(wrong, now); who != nil {
			t.Errorf("%q: found %+v; want nobody", wrong, who)
		}
	}
	k.apply(nil)
	if who := k.find("ops-token-of-the-file", now); who != nil {
		t.Errorf("taken from the file: found %+v; want nobody", who)
	}
}
