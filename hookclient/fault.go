package hookclient

import "errors"

// FieldError says which key of a hook, or of a webhook, keeps it from being made ready.
type FieldError struct {
	Key string // as the configuration has it: params[0].date_format
	Err error  // without secrets
}

func (e *FieldError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap returns what is wrong with the key's value.
func (e *FieldError) Unwrap() error { return e.Err }

// at says where err is, nil for no error.
func at(key string, err error) error {
	if err == nil {
		return nil
	}
	return &FieldError{key, err}
}

// renamed gives the key of a FieldError the name that it has where the value came from.
func renamed(err error, names map[string]string) error {
	var field *FieldError
	if !errors.As(err, &field) || names[field.Key] == "" {
		return err
	}
	return &FieldError{names[field.Key], field.Err}
}
