//go:build !race

package hookclient

import (
	"testing"

	"hookswitch/schema"
)

// The race detector makes sync.Pool forget at random, so this runs without it only.
func TestBuildDoesNotAllocate(t *testing.T) {
	for _, tc := range []struct{ name, method, send string }{
		{"GET http", "GET", "http"}, {"POST http", "POST", "http"}, {"POST form", "POST", "form"}, {"POST json", "POST", "json"},
		{"POST json-rpc", "POST", "json-rpc"}, {"POST xml", "POST", "xml"}, {"POST raw", "POST", "raw"}, {"GET headers", "GET", "headers"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := documentedHook(tc.method, tc.send)
			h.Sign = schema.NewSecret("secret")
			b, err := newBuilder(h, "http://crm.example/{{callid}}/x?a={{pool}}", nil)
			if err != nil {
				t.Fatal(err)
			}
			c := documentedCall()
			if n := testing.AllocsPerRun(200, func() { b.build(c, requestTime, requestID).release() }); n != 0 {
				t.Errorf("%v allocations a request; want none", n)
			}
		})
	}
}
