package console

// kind is one sort of thing that a project has: how it is listed and edited. Its path in the API is
// /NAME, its texts are under its name.
type kind struct {
	Name string
	// ID is the key by which one is told from the others; Made says that the API makes it.
	ID   string
	Made bool
	// Columns are the fields that the list shows, besides the ID.
	Columns  []string
	Sections []section
}

// kinds are the sorts, by name.
func kindNamed(name string) (kind, bool) {
	switch name {
	case "schemas":
		return schemes(), true
	case "hooks":
		return hooks(), true
	case "numbers":
		return numbers(), true
	case "incoming":
		return incomingLinks(), true
	case "webhooks":
		return subscriptions(), true
	}
	return kind{}, false
}

func schemes() kind {
	return kind{Name: "schemas", ID: "id", Columns: []string{"name", "steps"}, Sections: []section{
		{Name: "what", Fields: []field{
			{Path: "id", As: asText, Fixed: true, Needed: true},
			{Path: "name", As: asText},
		}},
		{Name: "steps", Fields: []field{{Path: "steps", As: asSteps}}},
		{Name: "hours", Closed: true, Fields: []field{
			{Path: "hours.open", As: asLines},
			{Path: "hours.tz", As: asText},
			{Path: "hours.holidays", As: asLines},
			{Path: "hours.closed_schema", As: asOne, From: "schemas"},
		}},
	}}
}

func hooks() kind {
	return kind{Name: "hooks", ID: "id", Columns: []string{"name", "method", "url", "request_timeout"}, Sections: []section{
		{Name: "what", Fields: []field{
			{Path: "id", As: asText, Fixed: true, Needed: true},
			{Path: "name", As: asText},
			{Path: "url", As: asText, Needed: true},
			{Path: "fallback_url", As: asText},
			{Path: "request_timeout", As: asText},
			{Path: "ring_timeout", As: asText},
			{Path: "on_failure", As: asOne, From: "schemas"},
		}},
		{Name: "asks", Fields: []field{
			{Path: "method", As: asChoice, Choices: []string{"GET", "POST", "PUT", "PATCH", "DELETE"}},
			{Path: "send", As: asChoice, Choices: []string{"http", "headers", "json", "json-rpc", "form", "xml", "raw"}},
			{Path: "receive", As: asChoice, Choices: []string{"json", "http", "json-rpc"}},
			{Path: "field", As: asText},
			{Path: "rpc_method", As: asText},
			{Path: "params", As: asJSON},
			{Path: "body", As: asLong},
			{Path: "content_type", As: asText},
			{Path: "date_format", As: asText},
			{Path: "tz", As: asText},
		}},
		{Name: "proof", Closed: true, Fields: []field{
			{Path: "headers", As: asPairs},
			{Path: "auth.basic.user", As: asText},
			{Path: "auth.basic.password", As: asText},
			{Path: "auth.bearer", As: asText},
			{Path: "sign", As: asText},
			{Path: "sign_next", As: asText},
		}},
		{Name: "trouble", Closed: true, Fields: []field{
			{Path: "idempotent", As: asCheck},
			{Path: "last_good", As: asText},
			{Path: "max_in_flight", As: asNumber},
			{Path: "max_answer_bytes", As: asNumber},
			{Path: "follow_redirects", As: asNumber},
		}},
		{Name: "breaker", Closed: true, Fields: breakerFields()},
	}}
}

func breakerFields() []field {
	return []field{
		{Path: "breaker.state", As: asChoice, Choices: []string{"auto", "open", "closed"}},
		{Path: "breaker.failures", As: asNumber},
		{Path: "breaker.failure_rate", As: asNumber},
		{Path: "breaker.min_calls", As: asNumber},
		{Path: "breaker.window", As: asText},
		{Path: "breaker.slow_call", As: asNumber},
		{Path: "breaker.open_for", As: asText},
		{Path: "breaker.open_for_max", As: asText},
		{Path: "breaker.probes", As: asNumber},
		{Path: "breaker.probe_url", As: asText},
	}
}

func numbers() kind {
	return kind{Name: "numbers", ID: "number", Columns: []string{"schema", "pool", "replacement"}, Sections: []section{
		{Name: "what", Fields: []field{
			{Path: "number", As: asText, Fixed: true, Needed: true},
			{Path: "schema", As: asOne, From: "schemas", Needed: true},
			{Path: "pool", As: asText},
			{Path: "replacement", As: asChoice, Choices: []string{"", "dynamic", "static", "callback"}},
		}},
	}}
}

func incomingLinks() kind {
	return kind{Name: "incoming", ID: "id", Columns: []string{"name", "key", "keep"}, Sections: []section{
		{Name: "what", Fields: []field{
			{Path: "id", As: asText, Fixed: true, Needed: true},
			{Path: "name", As: asText},
			{Path: "fields", As: asLines},
			{Path: "key", As: asText},
			{Path: "keep", As: asText},
		}},
		{Name: "route", Closed: true, Fields: []field{
			{Path: "route.caller", As: asText},
			{Path: "route.callee", As: asText},
			{Path: "route.hook", As: asOne, From: "hooks"},
			{Path: "route.schema", As: asOne, From: "schemas"},
			{Path: "response", As: asLong},
			{Path: "response_type", As: asText},
		}},
		{Name: "limits", Closed: true, Fields: []field{
			{Path: "max_body_bytes", As: asNumber},
			{Path: "rate", As: asNumber},
		}},
	}}
}

func subscriptions() kind {
	return kind{Name: "webhooks", ID: "id", Made: true, Columns: []string{"url", "event", "type_call"}, Sections: []section{
		{Name: "what", Fields: []field{
			{Path: "name", As: asText},
			{Path: "url", As: asText, Needed: true},
			{Path: "event", As: asChoice, Choices: []string{"create", "answer", "destroy"}},
			{Path: "type_call", As: asChoice, Choices: []string{"all", "inbound", "outbound"}},
			{Path: "when", As: asJSON},
			{Path: "disabled", As: asCheck},
		}},
		{Name: "asks", Fields: []field{
			{Path: "method", As: asChoice, Choices: []string{"POST", "GET", "PUT", "PATCH", "DELETE"}},
			{Path: "body", As: asChoice, Choices: []string{"json", "form", "xml", "json-rpc", "raw", "query"}},
			{Path: "type_style", As: asChoice, Choices: []string{"long", "short"}},
			{Path: "fields", As: asRows, Keys: [2]string{"before", "after"}},
			{Path: "params", As: asJSON},
			{Path: "template", As: asLong},
			{Path: "content_type", As: asText},
			{Path: "date_format", As: asText},
		}},
		{Name: "proof", Closed: true, Fields: []field{
			{Path: "headers", As: asRows, Keys: [2]string{"name", "value"}},
			{Path: "auth.basic.user", As: asText},
			{Path: "auth.basic.password", As: asText},
			{Path: "auth.bearer", As: asText},
			{Path: "sign", As: asText},
			{Path: "sign_next", As: asText},
		}},
		{Name: "trouble", Closed: true, Fields: []field{
			{Path: "success", As: asChoice, Choices: []string{"2xx", "200", "2xx-3xx"}},
			{Path: "retry", As: asText},
			{Path: "request_timeout", As: asText},
			{Path: "max_in_flight", As: asNumber},
			{Path: "rate", As: asNumber},
			{Path: "ordered", As: asCheck},
			{Path: "disable_after", As: asText},
		}},
		{Name: "save", Closed: true, Fields: []field{
			{Path: "save", As: asRows, Keys: [2]string{"to", "from"}},
			{Path: "save_for", As: asText},
		}},
	}}
}
