package admin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"hookswitch/schema"
)

// webhookOperations are the documented monitoring API's, requests and answers to the letter, and what
// we add: more fields on a webhook, and its enabling.
func webhookOperations() []operation {
	all := webhooks.operations()
	all[0].handle = getWebhooks
	return append(all, operation{"POST", "/api/v1/webhooks/{id}/enable", scopeWrite, true, enableWebhook})
}

var webhooks = collection[schema.Webhook]{
	name: "webhooks", noun: "webhook", idKey: "id",
	list: func(p *schema.Project) *[]schema.Webhook { return &p.Webhooks },
	id:   func(w *schema.Webhook) string { return strconv.FormatInt(w.ID, 10) },
	setID: func(w *schema.Webhook, id string) {
		w.ID, _ = strconv.ParseInt(id, 10, 64) // it was written by the line above
	},
	matches: func(w *schema.Webhook, q string) bool { return has(q, w.URL, w.Name, w.Description) },
	show:    showWebhook,
	showInList: func(r *request, w *schema.Webhook) (any, error) {
		return listedWebhook{w.ID, w.URL, w.TypeCall, w.Type, w.Event, r.failing(w.ID)}, nil
	},
	told:    failingKey,
	prepare: readyWebhook,
	created: func(r *request, _ *schema.Webhook) error { return r.done() }, // as documented, and so not 201
}

// listedWebhook is what a list shows of a webhook.
type listedWebhook struct {
	ID       int64  `json:"id"`
	URL      string `json:"url"`
	TypeCall string `json:"type_call"`
	Type     string `json:"type"`
	Event    string `json:"event"`
	// Failing is there where the webhook gets nothing any more, since it failed for too long.
	Failing *failing `json:"disabled_for_failing,omitempty"`
}

const failingKey = "disabled_for_failing"

// failing is since when and why a webhook has been disabled for its failures.
type failing struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// failing tells that of a webhook of the request's project, nil where it is not so.
func (r *request) failing(webhook int64) *failing {
	if r.deliveries == nil {
		return nil
	}
	since, reason, is := r.deliveries.Disabled(r.project.ID, webhook)
	if !is {
		return nil
	}
	return &failing{since.UTC(), reason}
}

// showWebhook shows a webhook: the documented fields, be they empty, and those of ours that are set. The
// values of its headers are shown as documented, to tokens that may set them; others see "***".
func showWebhook(r *request, w *schema.Webhook) (any, error) {
	b, err := schema.EncodeResource(w, false)
	if err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{
		"params": json.RawMessage("[]"), "type": json.RawMessage(`""`), "fields": json.RawMessage("[]"),
		"template": json.RawMessage("null"), "headers": json.RawMessage("[]"),
	}
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil, fmt.Errorf("show a webhook: %w", err)
	}
	if r.who.may(scopeWrite) && r.project.ReadOnly == "" && len(w.Headers) > 0 {
		if fields["headers"], err = json.Marshal(revealed(w.Headers)); err != nil {
			return nil, fmt.Errorf("show a webhook: %w", err)
		}
	}
	if f := r.failing(w.ID); f != nil {
		if fields[failingKey], err = json.Marshal(f); err != nil {
			return nil, fmt.Errorf("show a webhook: %w", err)
		}
	}
	return fields, nil
}

// header is a webhook's, with its value.
type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func revealed(headers []schema.NamedSecret) []header {
	list := make([]header, len(headers))
	for i, h := range headers {
		list[i] = header{h.Name, h.Value.Reveal()}
	}
	return list
}

// getWebhooks lists those of the type that the request names.
func getWebhooks(r *request) error {
	wanted, err := r.typeFilter()
	if err != nil {
		return err
	}
	return webhooks.getAllOf(r, func(w *schema.Webhook) bool { return wanted == "" || w.Type == wanted })
}

// typeFilter returns the type asked for: by a GET's JSON body, as documented; by that JSON as the
// query, which is what the documented curl -G makes of it; or by the parameter type.
func (r *request) typeFilter() (string, error) {
	text, err := r.body(maxBody)
	if err != nil {
		return "", err
	}
	for key := range r.http.QueryArgs().All() {
		if len(text) == 0 && len(key) > 0 && key[0] == '{' {
			text = key
		}
	}
	filter := struct {
		Type string `json:"type"`
	}{r.query("type")}
	if len(text) > 0 {
		err = decodeJSON(text, &filter)
	}
	return filter.Type, err
}

// readyWebhook gives a new webhook its id, and its event the name that is kept. One that replaces another keeps its type where none is
// said: the documented API shows a type, but none of its requests sets one.
func readyWebhook(r *request, was, w *schema.Webhook, body []byte) error {
	if kind, known := schema.EventKind(w.Event); known {
		w.Event = kind // as the check would, so that it is known again
	}
	if was != nil {
		var said struct {
			Type *string `json:"type"`
		}
		if err := json.Unmarshal(body, &said); err == nil && said.Type == nil {
			w.Type = was.Type
		}
		return nil
	}
	if w.ID != 0 {
		return invalid("id", "found one; want none: a webhook is given its id")
	}
	if r.store == nil {
		return errNoStore
	}
	var err error
	w.ID, err = newWebhookID(r)
	return err
}

// newWebhookID counts on: an id is never given again, since the delivery log goes on naming a webhook
// that is gone.
func newWebhookID(r *request) (int64, error) {
	for {
		n, err := r.store.Increment(r.ctx, webhookIDs, keptForGood)
		if err != nil {
			return 0, err
		}
		id := int64(n)
		if !slices.ContainsFunc(r.project.Webhooks, func(w schema.Webhook) bool { return w.ID == id }) {
			return r.reserve(id)
		}
	}
}

// reserve keeps an id for a create that has an Idempotency-Key, which is given the same one each time.
func (r *request) reserve(id int64) (int64, error) {
	if r.once == "" {
		return id, nil
	}
	reserved, first, err := r.store.SetIfAbsent(r.ctx, r.once+":id", strconv.AppendInt(nil, id, 10), rememberFor)
	if err != nil || first {
		return id, err
	}
	return strconv.ParseInt(string(reserved), 10, 64)
}

const (
	webhookIDs  = "webhook:ids"
	keptForGood = 100 * 365 * 24 * time.Hour
)

// enableWebhook lets a webhook that was disabled, by hand or for its failures, have deliveries again.
func enableWebhook(r *request) error {
	i := webhooks.find(r.project, r.arg("id"))
	if i < 0 {
		return webhooks.none(r)
	}
	if r.project.Webhooks[i].Disabled {
		if err := r.change(func(p *schema.Project) error {
			i := webhooks.find(p, r.arg("id"))
			if i < 0 {
				return webhooks.none(r)
			}
			p.Webhooks[i].Disabled = false
			return nil
		}); err != nil {
			return err
		}
	}
	if r.deliveries == nil {
		return errNoDeliveries
	}
	if err := r.deliveries.Enable(r.ctx, r.project.ID, r.project.Webhooks[i].ID); err != nil {
		return err
	}
	return r.done()
}
