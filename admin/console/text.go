package console

import (
	"embed"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
)

//go:embed text/*.yaml
var textFiles embed.FS

// languages are those that the console speaks; the first is for everybody else.
var languages = []string{"en", "ru", "uk"}

// texts is every text of the console, by language and key.
type texts struct {
	by      map[string]map[string]text
	matcher language.Matcher
}

// text is what stands under a key: one form, or one for each plural category that the language has.
type text struct {
	form   string
	plural map[string]string // one, few, many, other; nil where there is one form
}

func loadTexts() (*texts, error) {
	t := &texts{by: map[string]map[string]text{}}
	tags := make([]language.Tag, len(languages))
	for i, code := range languages {
		tags[i] = language.MustParse(code)
		b, err := textFiles.ReadFile("text/" + code + ".yaml")
		if err != nil {
			return nil, err
		}
		var tree map[string]any
		if err := yaml.Unmarshal(b, &tree); err != nil {
			return nil, fmt.Errorf("text/%s.yaml: %w", code, err)
		}
		t.by[code] = map[string]text{}
		flatten(t.by[code], "", tree)
	}
	t.matcher = language.NewMatcher(tags)
	return t, nil
}

// flatten puts the leaves of a tree under their paths, "nav.overview". A mapping with the key other is
// a leaf: a text's plural forms.
func flatten(into map[string]text, at string, tree map[string]any) {
	for key, value := range tree {
		path := strings.TrimPrefix(at+"."+key, ".")
		switch value := value.(type) {
		case map[string]any:
			if value["other"] == nil {
				flatten(into, path, value)
				continue
			}
			forms := make(map[string]string, len(value))
			for category, form := range value {
				forms[category] = fmt.Sprint(form)
			}
			into[path] = text{plural: forms}
		default:
			into[path] = text{form: fmt.Sprint(value)}
		}
	}
}

// choose returns the language of a visitor: the one chosen, else the best that the browser asks for.
func (t *texts) choose(chosen, accepted string) string {
	if _, ok := t.by[chosen]; ok {
		return chosen
	}
	wanted, _, err := language.ParseAcceptLanguage(accepted)
	if err != nil || len(wanted) == 0 {
		return languages[0]
	}
	_, i, confidence := t.matcher.Match(wanted...)
	if confidence == language.No {
		return languages[0]
	}
	return languages[i]
}

// get returns the text under key with its arguments filled in, and the key itself where there is
// none, which a test keeps from happening.
func (t *texts) get(lang, key string, args ...any) string {
	found, ok := t.by[lang][key]
	if !ok {
		return key
	}
	return fill(found.form, args)
}

// has reports whether there is a text under key.
func (t *texts) has(lang, key string) bool {
	_, ok := t.by[lang][key]
	return ok
}

// count returns the text under key in the form that the number n wants; n is its first argument.
func (t *texts) count(lang, key string, n int, args ...any) string {
	found, ok := t.by[lang][key]
	if !ok {
		return key
	}
	form := found.plural[pluralOf(lang, n)]
	if form == "" {
		form = found.plural["other"]
	}
	return fill(form, append([]any{n}, args...))
}

func fill(form string, args []any) string {
	if len(args) == 0 {
		return form
	}
	return fmt.Sprintf(form, args...)
}

// pluralOf returns the category of a whole number (Unicode CLDR 45, plural rules).
func pluralOf(lang string, n int) string {
	if n < 0 {
		n = -n
	}
	if lang == "en" {
		if n == 1 {
			return "one"
		}
		return "other"
	}
	switch ten, hundred := n%10, n%100; { // ru and uk have the same rules
	case ten == 1 && hundred != 11:
		return "one"
	case ten >= 2 && ten <= 4 && (hundred < 12 || hundred > 14):
		return "few"
	}
	return "many"
}
