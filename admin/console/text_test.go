package console

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestEveryTextIsThereInEveryLanguage(t *testing.T) {
	all := mustTexts(t)
	verbs := regexp.MustCompile(`%(\[\d\])?[a-z%]`)
	for key, in := range all.by["en"] {
		for _, lang := range languages[1:] {
			other, ok := all.by[lang][key]
			if !ok {
				t.Errorf("text/%s.yaml has no %q", lang, key)
				continue
			}
			if (in.plural == nil) != (other.plural == nil) {
				t.Errorf("%s: %q has plural forms in one language only", lang, key)
			}
			if found, want := verbs.FindAllString(other.form, -1), verbs.FindAllString(in.form, -1); len(found) != len(want) {
				t.Errorf("%s: %q takes %d values; want %d", lang, key, len(found), len(want))
			}
		}
	}
	for _, lang := range languages {
		wanted := []string{"one", "other"}
		if lang != "en" {
			wanted = []string{"one", "few", "many", "other"}
		}
		for key, in := range all.by[lang] {
			if _, ok := all.by["en"][key]; !ok {
				t.Errorf("text/%s.yaml has %q, and English has not", lang, key)
			}
			if in.plural == nil {
				if strings.TrimSpace(in.form) == "" {
					t.Errorf("%s: %q is empty", lang, key)
				}
				continue
			}
			for _, category := range wanted {
				if in.plural[category] == "" {
					t.Errorf("%s: %q has no form %q", lang, key, category)
				}
			}
		}
	}
}

func mustTexts(t *testing.T) *texts {
	t.Helper()
	all, err := loadTexts()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestNumbersTakeTheFormOfTheLanguage(t *testing.T) {
	for _, tc := range []struct {
		lang string
		n    int
		want string
	}{
		{"en", 0, "other"}, {"en", 1, "one"}, {"en", 2, "other"}, {"en", 21, "other"},
		{"ru", 0, "many"}, {"ru", 1, "one"}, {"ru", 2, "few"}, {"ru", 5, "many"}, {"ru", 11, "many"}, {"ru", 12, "many"},
		{"ru", 21, "one"}, {"ru", 22, "few"}, {"ru", 111, "many"}, {"uk", 101, "one"}, {"uk", 104, "few"}, {"uk", 114, "many"},
	} {
		if found := pluralOf(tc.lang, tc.n); found != tc.want {
			t.Errorf("%d in %s: found %q; want %q", tc.n, tc.lang, found, tc.want)
		}
	}
}

func TestTheLanguageIsTheOneChosenOrTheBestThatTheBrowserAsksFor(t *testing.T) {
	all := mustTexts(t)
	for _, tc := range []struct{ chosen, accepted, want string }{
		{"uk", "ru", "uk"},
		{"", "uk-UA,uk;q=0.9,en;q=0.5", "uk"},
		{"", "de-DE,ru;q=0.7", "ru"},
		{"", "de-DE", "en"},
		{"", "", "en"},
		{"xx", "garbage;;q=?", "en"},
	} {
		if found := all.choose(tc.chosen, tc.accepted); found != tc.want {
			t.Errorf("chosen %q, accepted %q: found %q; want %q", tc.chosen, tc.accepted, found, tc.want)
		}
	}
}

var (
	// Templates that stand within a tag are attributes, and no text.
	attributes = regexp.MustCompile(`(?m)^\{\{define "(?:step-)?said"\}\}.*$`)

	action  = regexp.MustCompile(`\{\{.*?\}\}`)
	letters = regexp.MustCompile(`\p{L}{2,}`)
	textKey = regexp.MustCompile(`\b(?:t|n) "([a-z_.]+)"`)
)

// spoken are the attributes that people read or hear.
var spoken = []string{"title", "placeholder", "aria-label", "alt", "aria-description"}

func TestNoTemplateSaysAnythingItself(t *testing.T) {
	for name, source := range templateSources(t) {
		source = attributes.ReplaceAllString(source, "")
		tokens := html.NewTokenizer(strings.NewReader(action.ReplaceAllString(source, "")))
		ours := false // in an element that is not translated: the name of the product, a language's own name
		for {
			kind := tokens.Next()
			if kind == html.ErrorToken {
				break
			}
			token := tokens.Token()
			if kind == html.TextToken && !ours && letters.MatchString(strings.ReplaceAll(token.Data, "hookswitch", "")) {
				t.Errorf("%s says %q itself", name, strings.TrimSpace(token.Data))
			}
			if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
				ours = false
				continue
			}
			ours = slices.ContainsFunc(token.Attr, func(a html.Attribute) bool { return a.Key == "translate" && a.Val == "no" })
			for _, a := range token.Attr {
				own := slices.ContainsFunc(token.Attr, func(a html.Attribute) bool { return a.Key == "lang" })
				if slices.Contains(spoken, a.Key) && letters.MatchString(a.Val) && !own && a.Val != "30s" {
					t.Errorf("%s: the attribute %s says %q itself", name, a.Key, a.Val)
				}
				if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
					t.Errorf("%s has the attribute %s, which the Content-Security-Policy refuses", name, a.Key)
				}
			}
		}
	}
}

func TestEveryTextThatATemplateOrAFormAsksForIsThere(t *testing.T) {
	all := mustTexts(t)
	want := map[string]string{}
	for name, source := range templateSources(t) {
		for _, found := range textKey.FindAllStringSubmatch(source, -1) {
			if !strings.HasSuffix(found[1], ".") && !strings.HasSuffix(found[1], "_") {
				want[found[1]] = name
			}
		}
	}
	for _, name := range []string{"schemas", "hooks", "numbers", "incoming", "webhooks"} {
		k, _ := kindNamed(name)
		for _, key := range []string{"nav.", "new.", "one.", "delete.", "about."} {
			want[key+name] = "kinds.go"
		}
		for _, column := range append([]string{k.ID}, k.Columns...) {
			want["column."+column] = "kinds.go"
		}
		wantFields(want, name, k.Sections)
	}
	wantFields(want, "projects", projectSections())
	wantFields(want, "tokens", tokenSections())
	for _, reason := range reasonNames() {
		want["reason."+reason] = "schema/decision.go"
	}
	for _, source := range sourceNames() {
		want["source."+source] = "schema/decision.go"
	}
	for key, by := range want {
		if !all.has("en", key) {
			t.Errorf("%s asks for the text %q, which is not there", by, key)
		}
	}
}

func wantFields(want map[string]string, kind string, sections []section) {
	for _, s := range sections {
		if kind != "tokens" {
			want["section."+kind+"."+s.Name] = "kinds.go"
		}
		for _, f := range s.Fields {
			want["field."+kind+"."+f.Path] = "kinds.go"
		}
	}
}

// templateSources returns the templates as they are written.
func templateSources(t *testing.T) map[string]string {
	t.Helper()
	sources := map[string]string{}
	err := filepath.WalkDir("templates", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		sources[path] = string(b)
		return err
	})
	if err != nil || len(sources) < 10 {
		t.Fatalf("found %d templates: %v", len(sources), err)
	}
	return sources
}
