package schema

import "time"

// Backlog is how far behind the deliveries to webhooks are.
type Backlog struct {
	Waiting int
	// Failed counts those of the last day that were given up, and FailedBy the same by project.
	Failed   int
	FailedBy map[string]int
}

// DisabledWebhook is a webhook that gets nothing any more, since it failed for too long.
type DisabledWebhook struct {
	Project string    `json:"project"`
	Webhook int64     `json:"webhook"`
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason"`
}
