package notify

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"go.uber.org/zap"

	"hookswitch/schema"
)

// callerOf is who an event is about, "" for nobody: who calls, or is called where the call goes out.
func callerOf(t *target, e *schema.Event) string {
	name := schema.ParamCaller.Name()
	if e.Direction == "outbound" {
		name = schema.ParamCallee.Name()
	}
	for i := len(e.Values) - 1; i >= 0; i-- {
		if e.Values[i].Name == name {
			return schema.CallerKey(e.Values[i].Value, t.setup.Region)
		}
	}
	return ""
}

// variables returns what is known of the event's caller, where the webhook may ask for it. A request
// goes without where that can't be had.
func (n *Notify) variables(t *target, e *schema.Event, deadline time.Time) string {
	if n.memory == nil || !t.asks {
		return ""
	}
	caller := callerOf(t, e)
	if caller == "" {
		return ""
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	known, err := n.memory.Variables(ctx, e.Project, caller)
	if err != nil {
		n.log.Warn("a webhook is sent without the caller's variables", zap.String("project", e.Project), zap.Error(err))
	}
	return string(known)
}

// asksForMore reports whether what the webhook is sent may name more than the catalogue: variables.
func asksForMore(w *schema.Webhook) bool {
	texts := []string{w.URL, w.Template}
	for _, h := range w.Headers {
		texts = append(texts, h.Value.Reveal())
	}
	return len(w.Params) > 0 || slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "{{") })
}

// save keeps what the webhook's rules take from its answer as the caller's variables.
func (n *Notify) save(t *target, e *schema.Event, answer []byte) {
	w := t.webhook
	if n.memory == nil || len(w.Save) == 0 {
		return
	}
	caller := callerOf(t, e)
	if caller == "" {
		return
	}
	values := saved(w.Save, answer)
	if values == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	if err := n.memory.Remember(ctx, e.Project, caller, values, w.SaveFor); err != nil {
		n.log.Error("values of a webhook's answer were not saved", zap.String("project", e.Project), zap.Int64("webhook", w.ID), zap.Error(err))
	}
}

// saved returns the values that the rules find in an answer, as a JSON object; nil for none. A value
// stays what it is in the answer: a string, a number as it was written, an object, a list.
func saved(rules []schema.SaveRule, answer []byte) []byte {
	if !gjson.ValidBytes(answer) { // gjson answers from broken JSON too, and wrongly
		return nil
	}
	values := map[string]json.RawMessage{}
	for _, rule := range rules {
		// A path may hold a literal of its own, "!00", which gjson passes on as it is.
		if found := gjson.GetBytes(answer, rule.From); found.Exists() && gjson.Valid(found.Raw) {
			values[rule.To] = json.RawMessage(found.Raw)
		}
	}
	if len(values) == 0 {
		return nil
	}
	return mustJSON(values)
}
