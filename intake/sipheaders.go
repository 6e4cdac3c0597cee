package intake

import "strings"

// sipHeaderParam returns the custom parameter as which a webhook gets a SIP header that tells what
// became of the call before it came here, its value as it is; "" for any other header.
func sipHeaderParam(header string) string {
	switch {
	case strings.EqualFold(header, "Diversion"): // RFC 5806
		return "diversion"
	case strings.EqualFold(header, "History-Info"): // RFC 7044
		return "history_info"
	case strings.EqualFold(header, "P-Asserted-Identity"): // RFC 3325
		return "p_asserted_identity"
	}
	return ""
}

// keepSIPHeaders keeps so the headers that a dialplan passed on under their own names.
func (q *question) keepSIPHeaders() {
	for _, c := range q.call.Customs() {
		if param := sipHeaderParam(c.Name); param != "" {
			q.setNamed([]byte(param), []byte(c.Value))
		}
	}
}
