package peers

import (
	"fmt"

	"github.com/valyala/fasthttp"
)

// ServeBare passes each request on to the hook and its answer back, and does nothing else: what is
// left for any service that is built on fasthttp to add to.
func ServeBare(listen, hook string) error {
	client := fasthttp.HostClient{Addr: hook, MaxConns: 8192, NoDefaultUserAgentHeader: true}
	server := fasthttp.Server{
		Name: "bare",
		Handler: func(ctx *fasthttp.RequestCtx) {
			req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(resp)
			req.SetRequestURIBytes(ctx.RequestURI())
			req.Header.SetHost(hook)
			if ctx.IsPost() {
				req.Header.SetMethod(fasthttp.MethodPost)
				req.Header.SetContentTypeBytes(ctx.Request.Header.ContentType())
				req.SetBodyRaw(ctx.PostBody())
			}
			if err := client.Do(req, resp); err != nil {
				ctx.Error(err.Error(), fasthttp.StatusBadGateway)
				return
			}
			ctx.SetStatusCode(resp.StatusCode())
			ctx.SetContentTypeBytes(resp.Header.ContentType())
			ctx.SetBody(resp.Body())
		},
	}
	if err := server.ListenAndServe(listen); err != nil {
		return fmt.Errorf("bare: %w", err)
	}
	return nil
}
