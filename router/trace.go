package router

import (
	"context"
	"encoding/hex"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"hookswitch/schema"
)

// startSpan begins a span for the decision, a child of the PBX's where it sent a traceparent, and
// makes the webhook's a child of ours. Without a tracer it returns nil, and the PBX's traceparent
// goes to the webhook as it came.
func (r *Router) startSpan(call *schema.Call, d *schema.Decision) trace.Span {
	if r.opts.Tracer == nil {
		return nil
	}
	ctx := context.Background()
	if parent, ok := parseTraceparent(call.Traceparent); ok {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	_, span := r.opts.Tracer.Start(ctx, "decision", trace.WithTimestamp(call.At), trace.WithSpanKind(trace.SpanKindServer))
	if sc := span.SpanContext(); sc.IsValid() {
		call.Traceparent = "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-" + sc.TraceFlags().String()
	}
	span.SetAttributes(attribute.String("hookswitch.decision_id", string(d.ID[:])))
	return span
}

// endSpan records the decision, and each request to a webhook as an event with its times.
func endSpan(t *table, span trace.Span, d *schema.Decision) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.String("hookswitch.project", string([]byte(d.Project))),
		attribute.String("hookswitch.callid", string([]byte(d.CallID))), // copied: spans outlive the call
		attribute.String("hookswitch.source", d.Source.String()),
		attribute.String("hookswitch.reason", d.Reason.String()),
		attribute.String("hookswitch.hook", d.Hook),
		attribute.String("hookswitch.schema", string([]byte(d.Schema))),
	)
	for i := range d.Answer.Attempts {
		at := &d.Answer.Attempts[i]
		span.AddEvent("webhook request", trace.WithAttributes(
			attribute.String("url", at.URL), attribute.Int("status", at.Status),
			attribute.String("outcome", at.Reason.String()),
			attribute.Float64("began_ms", milliseconds(at.Began)), attribute.Float64("took_ms", milliseconds(at.Took)),
		))
	}
	if d.Source == schema.SourceFallback {
		span.SetStatus(codes.Error, t.shown(d.Detail))
	}
}

// parseTraceparent reads a W3C Trace Context header, version 00:
// 00-{32 hex}-{16 hex}-{2 hex} (https://www.w3.org/TR/trace-context/#traceparent-header).
func parseTraceparent(s string) (trace.SpanContext, bool) {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return trace.SpanContext{}, false
	}
	var (
		id    trace.TraceID
		span  trace.SpanID
		flags [1]byte
	)
	for text, into := range map[string][]byte{s[3:35]: id[:], s[36:52]: span[:], s[53:55]: flags[:]} {
		if _, err := hex.Decode(into, []byte(text)); err != nil {
			return trace.SpanContext{}, false
		}
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags[0]), Remote: true})
	return sc, sc.IsValid()
}
