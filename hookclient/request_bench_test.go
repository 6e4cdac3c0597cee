package hookclient

import (
	"testing"

	"hookswitch/schema"
)

// benchmarkBuild builds a request with the first fields parameters of the catalogue.
func benchmarkBuild(b *testing.B, method, send string, fields int) {
	h := documentedHook(method, send)
	for p := range schema.Param(fields) {
		h.Params = append(h.Params, schema.ParamRule{Name: p.Name(), Param: p.Name()})
	}
	builder, err := newBuilder(h, "http://127.0.0.1:9000/route", nil)
	if err != nil {
		b.Fatal(err)
	}
	c := documentedCall()
	b.ReportAllocs()
	for b.Loop() {
		builder.build(c, requestTime, requestID).release()
	}
}

func BenchmarkBuildGET6Params(b *testing.B)       { benchmarkBuild(b, "GET", "http", 6) }
func BenchmarkBuildPOST25JSONFields(b *testing.B) { benchmarkBuild(b, "POST", "json", 25) }
