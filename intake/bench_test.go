package intake

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

const sixParams = "project=1001&callee=380442223344&caller=%2B380501112233&callid=3333333333.3333333&source=google&userip=192.0.2.1"

func twentyFiveFields() []byte {
	var b strings.Builder
	b.WriteString(`{"project":"1001","callee":"380442223344","caller":"380501112233","callid":"3333333333.3333333"`)
	for i, p := range []schema.Param{
		schema.ParamType, schema.ParamSource, schema.ParamMedium, schema.ParamCampaign, schema.ParamTerm, schema.ParamContent,
		schema.ParamUserUUID, schema.ParamUserIP, schema.ParamCallRoute, schema.ParamUniqueFirst, schema.ParamLastPage,
		schema.ParamLanding, schema.ParamGAID, schema.ParamFullNum, schema.ParamRoistat, schema.ParamUserAgent,
	} {
		fmt.Fprintf(&b, `,%q:"value number %d"`, p.Name(), i)
	}
	b.WriteString(`,"duration":0,"note":"Київ","vip":true,"tags":["a","b"],"payment":{"name":"Visa"}}`)
	return []byte(b.String())
}

// steadyState is a server, a request and a question's memory as they are after many calls.
type steadyState struct {
	s   *Server
	q   *question
	ctx *fasthttp.RequestCtx
}

func newSteadyState(t testing.TB, ctx *fasthttp.RequestCtx, adjust func(*schema.Intake)) *steadyState {
	settings := testSettings()
	if adjust != nil {
		adjust(&settings)
	}
	s, err := New(Options{Decide: decideFunc(decideOK), Settings: settings, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return &steadyState{s: s, q: new(question), ctx: ctx}
}

// once answers the request, as handle does with a question of the pool.
func (a *steadyState) once() {
	a.ctx.Response.Reset()
	a.s.serve(a.ctx, a.q)
	a.q.reset()
}

func TestALookupAllocatesNothing(t *testing.T) {
	get := newContext("GET", sixParams, "", nil)
	get.Request.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	get.Request.Header.Set("Authorization", "Bearer s3cret")
	form := newContext("POST", "", "application/x-www-form-urlencoded", []byte(sixParams))
	post := newContext("POST", "", "application/json", twentyFiveFields())
	escaped := newContext("POST", "", "", []byte(`{"callee":"1","note":"\u041a\u0438\u0457\u0432","caller":"\"a\""}`))
	rpc := newContext("POST", "", "application/json", []byte(`{"jsonrpc":"2.0","method":"route","params":{"callee":"1"},"id":1}`))
	plain := newContext("GET", sixParams+"&format=plain", "", nil)
	for name, c := range map[string]struct {
		ctx    *fasthttp.RequestCtx
		adjust func(*schema.Intake)
	}{
		"a query, at a door with a token": {get, func(in *schema.Intake) { in.Tokens = []schema.Secret{schema.NewSecret("s3cret")} }},
		"a form":                          {form, nil},
		"JSON of 25 fields":               {post, nil},
		"JSON with escapes":               {escaped, nil},
		"JSON-RPC":                        {rpc, nil},
		"plain":                           {plain, nil},
	} {
		a := newSteadyState(t, c.ctx, c.adjust)
		a.once()
		if status := c.ctx.Response.StatusCode(); status != 200 {
			t.Fatalf("%s: %d %s", name, status, c.ctx.Response.Body())
		}
		if n := testing.AllocsPerRun(200, a.once); n != 0 {
			t.Errorf("%s: %v allocations a lookup; want 0", name, n)
		}
	}
}

func BenchmarkGetSixParams(b *testing.B) {
	benchmark(b, newContext("GET", sixParams, "", nil))
}

func BenchmarkPostJSON25Fields(b *testing.B) {
	benchmark(b, newContext("POST", "", "application/json", twentyFiveFields()))
}

func benchmark(b *testing.B, ctx *fasthttp.RequestCtx) {
	a := newSteadyState(b, ctx, nil)
	b.ReportAllocs()
	for b.Loop() {
		a.once()
	}
}

func BenchmarkWriteJSON(b *testing.B) {
	var c schema.Call
	var d schema.Decision
	decideOK(&c, &d)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = appendDecisionJSON(out[:0], &d)
	}
}
