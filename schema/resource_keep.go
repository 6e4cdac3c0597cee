package schema

import (
	"reflect"
	"slices"
	"strings"
)

// hidden is what a secret shows.
const hidden = "***"

// KeepSecrets puts, wherever into holds the secret "***" that EncodeResource shows, the secret that
// stood in the same place of from: so that an element which was read, changed and sent back keeps its
// secrets. Both are pointers to the same type. Elements of a list are the same where their id is, or
// their name, and otherwise where their place is. A "***" for which there is nothing stays.
//
// So does one of a hook or webhook that sends to another scheme, host or port than before: who turns it
// there has to know its secrets, or could have them sent to a place of one's own.
func KeepSecrets(from, into any) {
	keepSecrets(reflect.ValueOf(from).Elem(), reflect.ValueOf(into).Elem())
}

func keepSecrets(from, into reflect.Value) {
	if into.Type() == secretType {
		if into.Interface().(Secret).Reveal() == hidden && from.Interface().(Secret).Reveal() != "" {
			into.Set(from)
		}
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		if !from.IsNil() && !into.IsNil() {
			keepSecrets(from.Elem(), into.Elem())
		}
	case reflect.Struct:
		if leadsElsewhere(from, into) {
			return
		}
		for i := range into.NumField() {
			if into.Type().Field(i).IsExported() {
				keepSecrets(from.Field(i), into.Field(i))
			}
		}
	case reflect.Slice:
		for i := range into.Len() {
			if was, ok := sameElement(from, into.Index(i), i); ok {
				keepSecrets(was, into.Index(i))
			}
		}
	case reflect.Map:
		for _, key := range into.MapKeys() {
			if was := from.MapIndex(key); was.IsValid() {
				now := reflect.New(into.Type().Elem()).Elem()
				now.Set(into.MapIndex(key))
				keepSecrets(was, now)
				into.SetMapIndex(key, now)
			}
		}
	}
}

// leadsElsewhere reports a hook or webhook with a URL to where none led before.
func leadsElsewhere(from, into reflect.Value) bool {
	var known, now []string
	switch into := into.Interface().(type) {
	case Hook:
		from := from.Interface().(Hook)
		known = []string{from.URL, from.FallbackURL, from.Breaker.ProbeURL}
		now = []string{into.URL, into.FallbackURL, into.Breaker.ProbeURL}
	case Webhook:
		known, now = []string{from.Interface().(Webhook).URL}, []string{into.URL}
	}
	return slices.ContainsFunc(now, func(url string) bool {
		return url != "" && !slices.ContainsFunc(known, func(k string) bool { return origin(k) == origin(url) })
	})
}

// origin is a URL's scheme, host and port (RFC 6454, 4).
func origin(url string) string {
	scheme, rest, _ := strings.Cut(strings.ToLower(strings.TrimSpace(url)), "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	usual := map[string]string{"http": ":80", "https": ":443"}[scheme]
	return scheme + "://" + strings.TrimSuffix(rest, usual)
}

// sameElement finds in a list the element that e, which stands at place i of another, is a newer form of.
func sameElement(in, e reflect.Value, i int) (reflect.Value, bool) {
	if e.Kind() == reflect.Struct {
		for _, key := range []string{"ID", "Name"} {
			if f := e.FieldByName(key); f.IsValid() && !f.IsZero() {
				for j := range in.Len() {
					if in.Index(j).FieldByName(key).Equal(f) {
						return in.Index(j), true
					}
				}
				return reflect.Value{}, false
			}
		}
	}
	if i < in.Len() {
		return in.Index(i), true
	}
	return reflect.Value{}, false
}
