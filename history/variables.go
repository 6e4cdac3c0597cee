package history

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

// maxVariables bounds what is kept of one caller, in bytes as it stands in the store.
const maxVariables = 128 << 10

// Remember keeps the members of values, a JSON object, as variables of the project's caller for ttl,
// in the place of those of the same names; the others stay as long as they were to. It returns when
// they are kept, or ctx ends. The caller is spelled as schema.CallerKey has it, with the project's
// region; that is applied here again, which changes nothing then.
//
// schema.ErrTooMuch: the caller would have too many; schema.ErrNoSpace: the store is full; any other
// error: it can't be reached, or values is no object. Whoever remembers at the same moment, on another
// instance too, loses nothing.
func (h *History) Remember(ctx context.Context, project, caller string, values []byte, ttl time.Duration) error {
	caller = schema.CallerKey(caller, "")
	if caller == "" {
		return errors.New("remember variables: found no caller; want a number, or a name that the PBX knows")
	}
	var fresh map[string]json.RawMessage
	if err := json.Unmarshal(values, &fresh); err != nil || fresh == nil {
		return errors.New("remember variables: found no JSON object")
	}
	key, err := h.secret(ctx)
	if err != nil {
		return err
	}
	name := variablesKey(key, project, caller)
	for {
		old, err := h.store.Get(ctx, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return unkept(err)
		}
		now := h.now()
		all := parseVariables(old).live(now)
		for name, value := range fresh {
			all[name] = variable{value, now.Add(ttl).UnixMilli()}
		}
		body, err := encode(all)
		if err != nil {
			return err
		}
		if len(body) > maxVariables {
			return fmt.Errorf("remember variables: %w: %d bytes; want at most %d", schema.ErrTooMuch, len(body), maxVariables)
		}
		if err = h.store.Swap(ctx, name, old, body, all.longest(now)); !errors.Is(err, store.ErrConflict) {
			return unkept(err)
		}
	}
}

// Variables returns what is known of the project's caller, a JSON object, nil for nothing. Unlike Recall
// it waits for the store until ctx ends: no call waits for it.
func (h *History) Variables(ctx context.Context, project, caller string) ([]byte, error) {
	caller = schema.CallerKey(caller, "")
	if caller == "" {
		return nil, nil
	}
	key, err := h.secret(ctx)
	if err != nil {
		return nil, err
	}
	values, err := h.getVariables(ctx, variablesKey(key, project, caller))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return values, err
}

// unkept says so to those who know no store.
func unkept(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrFull):
		return fmt.Errorf("remember variables: %w: %w", schema.ErrNoSpace, err)
	}
	return fmt.Errorf("remember variables: %w", err)
}

// variables are a caller's, by name. In the store they are a JSON object of these.
type variables map[string]variable

type variable struct {
	Value json.RawMessage `json:"v"`
	Until int64           `json:"u"` // Unix milliseconds
}

// parseVariables reads what Remember wrote; anything else is nothing.
func parseVariables(b []byte) variables {
	var v variables
	if len(b) == 0 || json.Unmarshal(b, &v) != nil {
		return nil
	}
	return v
}

// live returns a copy without those whose time is over.
func (v variables) live(now time.Time) variables {
	left := make(variables, len(v))
	for name, one := range v {
		if one.Until > now.UnixMilli() {
			left[name] = one
		}
	}
	return left
}

// longest returns for how long from now any of them is to be kept, a millisecond at least.
func (v variables) longest(now time.Time) time.Duration {
	last := now.UnixMilli() + 1
	for _, one := range v {
		last = max(last, one.Until)
	}
	return time.Duration(last-now.UnixMilli()) * time.Millisecond
}

// object returns those whose time is not over as a JSON object, nil where there are none.
func (v variables) object(now time.Time) ([]byte, error) {
	plain := make(map[string]json.RawMessage, len(v))
	for name, one := range v {
		if one.Until > now.UnixMilli() {
			plain[name] = one.Value
		}
	}
	if len(plain) == 0 {
		return nil, nil
	}
	return encode(plain)
}

// encode writes JSON without json.Marshal's escapes for HTML, so that an object which is sent on as
// its text is the one that came.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("write variables: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
