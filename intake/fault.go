package intake

import (
	"errors"
	"net"

	"github.com/valyala/fasthttp"
)

// fault is a question that gets no decision, and why. Its message is one line for the PBX's
// operator, field the parameter that was wrong.
type fault struct {
	code    code
	field   string
	message string
	// rpc overrides the code's JSON-RPC number.
	rpc int
}

// code is the closed set of faults, so that it can label a metric.
type code uint8

const (
	codeBadRequest code = iota
	codeUnauthorized
	codeForbidden
	codeUnknownNumber
	codeNotFound
	codeMethodNotAllowed
	codeTimeout
	codeTooLarge
	codeUnsupportedMedia
	codeHeaderTooLarge
	codeInternal
	codeOverloaded
	codeUnprocessable
	codeTooMany
	codeUnavailable
	codeNoSpace
	codeUnknownProject

	codeCount
)

// JSON-RPC 2.0, section 5.1, and two numbers of our own from its range for servers.
const (
	rpcParseError     = -32700
	rpcInvalidRequest = -32600
	rpcNoMethod       = -32601
	rpcInvalidParams  = -32602
	rpcInternal       = -32603
	rpcDoorClosed     = -32001
	rpcUnknownNumber  = -32004
)

var codes = [codeCount]struct {
	name        string
	status, rpc int
}{
	codeBadRequest:       {"bad_request", fasthttp.StatusBadRequest, rpcInvalidParams},
	codeUnauthorized:     {"unauthorized", fasthttp.StatusUnauthorized, rpcDoorClosed},
	codeForbidden:        {"forbidden", fasthttp.StatusForbidden, rpcDoorClosed},
	codeUnknownNumber:    {"unknown_number", fasthttp.StatusNotFound, rpcUnknownNumber},
	codeNotFound:         {"not_found", fasthttp.StatusNotFound, rpcInvalidRequest},
	codeMethodNotAllowed: {"method_not_allowed", fasthttp.StatusMethodNotAllowed, rpcInvalidRequest},
	codeTimeout:          {"request_timeout", fasthttp.StatusRequestTimeout, rpcInvalidRequest},
	codeTooLarge:         {"too_large", fasthttp.StatusRequestEntityTooLarge, rpcInvalidRequest},
	codeUnsupportedMedia: {"unsupported_media_type", fasthttp.StatusUnsupportedMediaType, rpcInvalidRequest},
	codeHeaderTooLarge:   {"header_too_large", fasthttp.StatusRequestHeaderFieldsTooLarge, rpcInvalidRequest},
	codeInternal:         {"internal", fasthttp.StatusInternalServerError, rpcInternal},
	codeOverloaded:       {"overloaded", fasthttp.StatusServiceUnavailable, rpcInternal},
	codeUnprocessable:    {"unprocessable", fasthttp.StatusUnprocessableEntity, rpcInvalidParams},
	codeTooMany:          {"too_many_requests", fasthttp.StatusTooManyRequests, rpcInternal},
	codeUnavailable:      {"unavailable", fasthttp.StatusServiceUnavailable, rpcInternal},
	codeNoSpace:          {"insufficient_storage", fasthttp.StatusInsufficientStorage, rpcInternal},
	codeUnknownProject:   {"unknown_project", fasthttp.StatusNotFound, rpcUnknownNumber},
}

// String returns the code as it stands in an answer, a log and a metric.
func (c code) String() string { return codes[c].name }

// httpStatus is the status of a fault in a dialect that has no rule of its own.
func httpStatus(f *fault) int { return codes[f.code].status }

func badField(field, message string) *fault {
	return &fault{code: codeBadRequest, field: field, message: message}
}

// faultOfRead names what kept fasthttp from reading a request. err's own text stays out of it: it
// may hold part of what was sent.
func faultOfRead(err error) *fault {
	var small *fasthttp.ErrSmallBuffer
	var netErr net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return &fault{code: codeTooLarge, message: "the body is larger than intake.max_body_bytes"}
	case errors.As(err, &small):
		return &fault{code: codeHeaderTooLarge, message: "the request line and headers are larger than intake.max_header_bytes"}
	case errors.As(err, &netErr) && netErr.Timeout():
		return &fault{code: codeTimeout, message: "the request did not arrive whole within intake.read_timeout"}
	}
	return &fault{code: codeBadRequest, message: "not a readable HTTP request"}
}
