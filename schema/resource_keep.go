package schema

import "reflect"

// hidden is what a secret shows.
const hidden = "***"

// KeepSecrets puts, wherever into holds the secret "***" that EncodeResource shows, the secret that
// stood in the same place of from: so that an element which was read, changed and sent back keeps its
// secrets. Both are pointers to the same type. Elements of a list are the same where their id is, or
// their name, and otherwise where their place is. A "***" for which there is nothing stays.
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
