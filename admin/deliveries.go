package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

// Deliveries is the delivery log of the webhooks, and the outbox behind it; notify.Notify is the one
// there is. Errors are the store's, and of a replay others too: they say why it cannot be.
type Deliveries interface {
	// List returns up to limit deliveries, the newest first, of those before the one with the id
	// before ("" for all), and what before is for those that follow, "" where there are none.
	List(ctx context.Context, f schema.DeliveryFilter, before string, limit int) (list []schema.Delivery, next string, err error)
	// Get returns one delivery, of whichever project, or store.ErrNotFound.
	Get(ctx context.Context, id string) (schema.Delivery, error)
	// Replay makes a delivery wait again, now; store.ErrNotFound where there is none.
	Replay(ctx context.Context, id string) error
	// ReplayFailed does that for failed deliveries that the filter selects, of those before the one with
	// the id before ("" for all), for as long as ctx allows. It says how many there were, with an error
	// too, and what before is for the others, "" where there are none.
	ReplayFailed(ctx context.Context, f schema.DeliveryFilter, before string) (replayed int, next string, err error)
	// AllDisabled lists the webhooks of a project, "" for all, that are disabled for their failures.
	AllDisabled(project string) []schema.DisabledWebhook
	// Disabled says since when and why one of them is, false where it is not.
	Disabled(project string, webhook int64) (since time.Time, reason string, is bool)
	// Enable lets a webhook that was disabled for its failures have deliveries again.
	Enable(ctx context.Context, project string, webhook int64) error
}

var errNoDeliveries = unavailable("no deliveries are made here: there is no store (store: none)")

func deliveryOperations() []operation {
	return []operation{
		{"GET", "/api/v1/deliveries", scopeRead, true, getDeliveries},
		{"GET", "/api/v1/deliveries/{id}", scopeRead, true, getDelivery},
		{"POST", "/api/v1/deliveries/{id}/replay", scopeWrite, true, replayDelivery},
		{"POST", "/api/v1/deliveries/replay", scopeWrite, true, replayDeliveries},
	}
}

// getDeliveries lists, the newest first. A delivery may be in the list twice where a new attempt at it
// moves it to the front meanwhile.
func getDeliveries(r *request) error {
	if r.deliveries == nil {
		return errNoDeliveries
	}
	f, err := r.deliveryFilter()
	if err != nil {
		return err
	}
	per, err := r.count("per_page", perPage, maxPerPage)
	if err != nil {
		return err
	}
	list, next, err := r.deliveries.List(r.ctx, f, r.query("before"), per)
	if err != nil {
		return err
	}
	data := make([]any, len(list))
	for i := range list {
		r.mask(&list[i])
		data[i] = &list[i]
	}
	return r.trail(data, per, next)
}

// deliveryFilter reads the parameters state, webhook, event, callid and since.
func (r *request) deliveryFilter() (f schema.DeliveryFilter, err error) {
	f = schema.DeliveryFilter{Project: r.project.ID, State: schema.DeliveryState(r.query("state")), CallID: r.query("callid")}
	states := []schema.DeliveryState{"", schema.DeliveryWaiting, schema.DeliveryDelivered, schema.DeliveryFailed}
	if !slices.Contains(states, f.State) {
		return f, invalid("state", fmt.Sprintf("found %.20q; want waiting, delivered or failed", f.State))
	}
	if text := r.query("webhook"); text != "" {
		if f.Webhook, err = strconv.ParseInt(text, 10, 64); err != nil || f.Webhook < 1 {
			return f, invalid("webhook", fmt.Sprintf("found %.20q; want a webhook's id", text))
		}
	}
	if text := r.query("event"); text != "" {
		kind, known := schema.EventKind(text)
		if !known {
			return f, invalid("event", fmt.Sprintf("found %.20q; want create, answer or destroy", text))
		}
		f.Event = kind
	}
	f.Since, err = readSince(r.query("since"))
	return f, err
}

// readSince reads a moment (RFC 3339); none is long ago.
func readSince(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	since, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return since, invalid("since", fmt.Sprintf("found %.40q; want a moment such as 2026-11-22T08:00:00Z", text))
	}
	return since, nil
}

// delivery returns the one that the path names, where it is the project's.
func (r *request) delivery() (d schema.Delivery, err error) {
	if r.deliveries == nil {
		return d, errNoDeliveries
	}
	d, err = r.deliveries.Get(r.ctx, r.arg("id"))
	if err == nil && d.Project != r.project.ID {
		err = store.ErrNotFound
	}
	return d, err
}

func getDelivery(r *request) error {
	d, err := r.delivery()
	if err != nil {
		return err
	}
	r.mask(&d)
	return r.answer(d)
}

// mask hides numbers in what is shown of a delivery, where log.mask_numbers asks for that. What is kept
// is whole: it is sent again.
func (r *request) mask(d *schema.Delivery) {
	if !r.config.Log.MaskNumbers {
		return
	}
	d.Attempts = slices.Clone(d.Attempts) // the log's own
	for i := range d.Attempts {
		a := &d.Attempts[i]
		a.Error, a.Request, a.Answer = schema.MaskNumbers(a.Error), schema.MaskNumbers(a.Request), schema.MaskNumbers(a.Answer)
	}
}

func replayDelivery(r *request) error {
	if _, err := r.delivery(); err != nil {
		return err
	}
	switch err := r.deliveries.Replay(r.ctx, r.arg("id")); {
	case err == nil:
		return r.done()
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrUnavailable):
		return err
	default:
		return conflict("it cannot be sent again: " + err.Error())
	}
}

// replayDeliveries sends what failed again: all of the project's, or a webhook's, or what failed since a
// moment. Where there is more than one request has time for, the answer says where the next goes on.
func replayDeliveries(r *request) error {
	if r.deliveries == nil {
		return errNoDeliveries
	}
	var which struct {
		Webhook int64  `json:"webhook"`
		Since   string `json:"since"`
		Before  string `json:"before"`
	}
	if err := r.decode(&which); err != nil {
		return err
	}
	since, err := readSince(which.Since)
	if err != nil {
		return err
	}
	n, next, err := r.deliveries.ReplayFailed(r.ctx, schema.DeliveryFilter{
		Project: r.project.ID, Webhook: which.Webhook, State: schema.DeliveryFailed, Tried: since,
	}, which.Before)
	if err != nil && n == 0 {
		return err
	}
	return r.answer(struct {
		success
		Replayed int    `json:"replayed"`
		More     bool   `json:"more"`
		Before   string `json:"before,omitempty"`
	}{success{true}, n, next != "" || err != nil, next})
}
