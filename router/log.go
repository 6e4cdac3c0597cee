package router

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"hookswitch/schema"
)

// log writes the one line of a decision: at info, a fallback too, since a customer's webhook that
// fails is no fault of the installation. A line that is sampled out costs nothing.
func (r *Router) log(t *table, call *schema.Call, d *schema.Decision) {
	message := "decision"
	if d.Repeated {
		message = "decision repeated"
	} else if d.Source == schema.SourceFallback || d.Source == schema.SourceLastGood {
		message = "decision by fallback"
	}
	// By the core itself: the logger would read the clock before it asks whether the line is wanted.
	line := zapcore.Entry{Level: zapcore.InfoLevel, LoggerName: r.opts.Log.Name(), Time: call.At.Add(d.Elapsed), Message: message}
	entry := r.opts.Log.Core().Check(line, nil)
	if entry == nil {
		return
	}
	caller, callee := call.Caller(), call.Callee()
	if t.mask {
		caller, callee = schema.MaskNumber(caller), schema.MaskNumber(callee)
	}
	fields := []zap.Field{
		zap.ByteString("decision_id", d.ID[:]), zap.String("callid", d.CallID), zap.String("project", d.Project),
		zap.String("caller", caller), zap.String("callee", callee),
		zap.Stringer("source", d.Source), zap.Stringer("reason", d.Reason),
		zap.String("schema", d.Schema), zap.String("hook", d.Hook), zap.Uint64("table", t.version),
		zap.Float64("elapsed_ms", milliseconds(d.Elapsed)),
	}
	if d.Detail != "" {
		fields = append(fields, zap.String("detail", t.shown(d.Detail)))
	}
	if len(d.Warnings) > 0 {
		warnings := make([]string, len(d.Warnings))
		for i, w := range d.Warnings {
			warnings[i] = t.shown(w)
		}
		fields = append(fields, zap.Strings("warnings", warnings))
	}
	if d.NotFound {
		fields = append(fields, zap.Bool("not_found", true))
	}
	entry.Write(fields...)
}

// shown is text as a log or a trace may hold it: with its numbers masked where log.mask_numbers says.
func (t *table) shown(text string) string {
	if !t.mask {
		return text
	}
	return schema.MaskNumbers(text)
}

// newDecisionID writes a ULID of the moment into id. The random part comes from the runtime's own
// generator, which shares no lock between cores; an id need not be unguessable.
func newDecisionID(id *[26]byte, at time.Time) {
	var u ulid.ULID
	_ = u.SetTime(ulid.Timestamp(at)) // fails in the year 10889
	binary.BigEndian.PutUint64(u[6:14], rand.Uint64())
	binary.BigEndian.PutUint16(u[14:16], uint16(rand.Uint32()))
	_ = u.MarshalTextTo(id[:]) // fails for a buffer of another length
}
