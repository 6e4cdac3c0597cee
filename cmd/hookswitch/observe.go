package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"hookswitch/schema"
)

// openLog makes the log, which is written to standard error; its level can change at run time.
func (s *service) openLog(conf schema.Log) (err error) {
	if s.level, err = zap.ParseAtomicLevel(conf.Level); err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	encoder := newEncoder(conf)
	s.lines = startLogLines(os.Stderr, func(lost uint64) []byte { return lostLine(encoder, time.Now(), lost) })
	s.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "hookswitch_log_lines_dropped_total", Help: "Lines of the log that were dropped, as they could not be written, or not soon enough.",
	}, func() float64 { return float64(s.lines.lost.Load()) }))
	s.log = zap.New(zapcore.NewCore(encoder, s.lines, s.level), zap.ErrorOutput(s.lines))
	return nil
}

func newEncoder(conf schema.Log) zapcore.Encoder {
	form := zap.NewProductionEncoderConfig()
	form.TimeKey, form.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	if conf.Format == "console" {
		form.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		return zapcore.NewConsoleEncoder(form)
	}
	return zapcore.NewJSONEncoder(form)
}

// lostLine tells of lines that the log lacks, at every level.
func lostLine(encoder zapcore.Encoder, now time.Time, lost uint64) []byte {
	entry := zapcore.Entry{Level: zapcore.WarnLevel, Time: now, Message: "log lines were dropped"}
	line, err := encoder.EncodeEntry(entry, []zap.Field{zap.Uint64("lines", lost)})
	if err != nil {
		return nil // an encoder fails on fields of other kinds alone
	}
	return line.Bytes()
}

// lastWords is how long the process, when it ends, waits for those who read its standard error.
const lastWords = time.Second

// sampled is log for what calls cause, bounded as configured. The service's own lines are not: of a
// faulty file, every fault is told.
func sampled(log *zap.Logger, conf schema.Log) *zap.Logger {
	if conf.SampleFirst == 0 {
		return log
	}
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, conf.SampleFirst, conf.SampleThereafter)
	}))
}

// newTracer sends spans to the configured OTLP endpoint over HTTP; without one it returns nil, and
// tracing costs nothing. flush sends what is waiting. That spans can't be sent is told to log.
func newTracer(conf schema.Tracing, log *zap.Logger) (tracer trace.Tracer, flush func(), err error) {
	if conf.Endpoint == "" {
		return nil, func() {}, nil
	}
	headers := make(map[string]string, len(conf.Headers))
	for name, value := range conf.Headers {
		headers[name] = value.Reveal()
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(conf.Endpoint), otlptracehttp.WithHeaders(headers)}
	if u, err := url.Parse(conf.Endpoint); err == nil && strings.Trim(u.Path, "/") == "" {
		options = append(options, otlptracehttp.WithURLPath("/v1/traces")) // OTLP 1.x, "OTLP/HTTP Request"
	}
	exporter, err := otlptracehttp.New(context.Background(), options...)
	if err != nil {
		return nil, nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	// The one global that OpenTelemetry has no other way for.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("tracing failed", zap.Error(err)) }))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter), // drops spans rather than wait
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(conf.Sample))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "hookswitch"), attribute.String("service.version", version))),
	)
	flush = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = provider.Shutdown(ctx) // a collector that is gone is no reason to stay
	}
	return provider.Tracer("hookswitch"), flush, nil
}
