package notify

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"

	"hookswitch/schema"
)

const (
	maxEmitted = 4096 // events of decisions that wait to be accepted
	emitters   = 16   // that accept them at a time
	// acceptTime is how long the store may take with one of them.
	acceptTime = 5 * time.Second
)

// Emit makes an event "create" of a call that was decided on, where events.emit_create asks for it and
// the project has a webhook for such events. It takes what it needs of call and d, and never waits: an
// event that finds too many others waiting is dropped, and counted. A PBX that sends the event too
// makes no second one of it.
func (n *Notify) Emit(call *schema.Call, d *schema.Decision) {
	if !n.settings.Load().EmitCreate || d.Repeated || call.Cursor != "" {
		return
	}
	p := n.table.Load().projects[d.Project]
	if p == nil || len(p.events["create"]) == 0 {
		return
	}
	if n.ended.Load() { // nobody will take it
		n.metrics.dropped.Inc()
		return
	}
	select {
	case n.emitted <- eventOf(call, d):
	default:
		n.metrics.dropped.Inc()
	}
}

// eventOf makes an event of a call. Its strings are its own.
func eventOf(call *schema.Call, d *schema.Decision) *schema.Event {
	direction, _ := schema.CallDirection(call) // a decision doesn't ask whether it is one
	e := &schema.Event{
		Project: strings.Clone(d.Project), Kind: "create", Direction: direction, CallID: strings.Clone(call.ID()), At: call.At,
	}
	for p := range schema.ParamCount {
		if call.Said(p) {
			e.Values = append(e.Values, schema.Custom{Name: p.Name(), Value: strings.Clone(call.Get(p))})
		}
	}
	for _, c := range call.Customs() {
		if c.Name == "direction" { // which the event has
			continue
		}
		e.Values = append(e.Values, schema.Custom{Name: strings.Clone(c.Name), Value: strings.Clone(c.Value)})
	}
	return e
}

// emit accepts what decisions emit. Nobody waits for it, so that nobody can send it again: those that
// wait when ctx ends are accepted yet, for as long as lastWords.
func (n *Notify) emit(ctx context.Context) {
	for {
		select {
		case e := <-n.emitted:
			n.acceptEmitted(context.WithoutCancel(ctx), e)
		case <-ctx.Done():
			n.acceptWaiting()
			return
		}
	}
}

func (n *Notify) acceptWaiting() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	for {
		select {
		case e := <-n.emitted:
			n.acceptEmitted(ctx, e)
		default:
			return
		}
	}
}

func (n *Notify) acceptEmitted(ctx context.Context, e *schema.Event) {
	within, cancel := context.WithTimeout(ctx, acceptTime)
	defer cancel()
	if a := n.Accept(within, e, ""); a == schema.EventNoSpace || a == schema.EventNotKept {
		n.metrics.dropped.Inc()
		n.log.Warn("the event of a decision was lost", zap.String("project", e.Project))
	}
}
