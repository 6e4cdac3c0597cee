package console

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// The delivery log: what was sent to subscribers, what came back, and sending it again.

var deliveryFilters = []string{"state", "event", "webhook", "callid"}

// deliveries lists a project's deliveries, the newest first.
func (v *visit) deliveries() error {
	project, err := v.project()
	if err != nil {
		return err
	}
	if project == "" {
		return v.redirect("/projects")
	}
	q, filter := url.Values{"per_page": {strconv.Itoa(listPage)}}, map[string]string{}
	for _, name := range deliveryFilters {
		if filter[name] = strings.TrimSpace(v.query(name)); filter[name] != "" {
			q.Set(name, filter[name])
		}
	}
	links := url.Values{"project": {project}}
	for name, value := range filter {
		if value != "" {
			links.Set(name, value)
		}
	}
	if before := v.query("before"); before != "" {
		q.Set("before", before)
	}
	var found struct {
		Data []object `json:"data"`
		Next *string  `json:"next_page_url"`
	}
	err = v.get(project, "/deliveries", q, &found)
	wrong := wrongFields(err)
	if err != nil && wrong == nil {
		return err
	}
	webhooks, err := v.webhookNames(project)
	if err != nil {
		return err
	}
	return v.render(fasthttp.StatusOK, page{Name: "deliveries", Nav: "deliveries", Project: project, Data: map[string]any{
		"Items": found.Data, "Filter": filter, "Webhooks": webhooks, "Options": map[string][]option{"webhooks": webhooks}, "Wrong": wrong, "Older": older(found.Next, links),
		"States": []string{"", "failed", "waiting", "delivered"}, "Events": []string{"", "create", "answer", "destroy"},
	}})
}

// older returns the link to the entries before those shown, "" for none: what the API's own next page
// is asked with, on ours.
func older(next *string, links url.Values) string {
	if next == nil {
		return ""
	}
	u, err := url.Parse(*next)
	if err != nil {
		return ""
	}
	links.Set("before", u.Query().Get("before"))
	return "?" + links.Encode()
}

// webhookNames are the project's subscriptions, to choose from and to name deliveries by.
func (v *visit) webhookNames(project string) ([]option, error) {
	var all []option
	for n := 1; ; n++ {
		var found paged
		q := url.Values{"per_page": {"100"}, "page": {strconv.Itoa(n)}}
		if err := v.get(project, "/webhooks", q, &found); err != nil {
			return nil, err
		}
		for _, o := range found.Data {
			all = append(all, option{ID: o.Text("id"), Name: o.Text("event") + " → " + o.Text("url")})
		}
		if n >= found.Last || len(all) >= maxOptions {
			return all, nil
		}
	}
}

// delivery shows one, with every request and answer.
func (v *visit) delivery() error {
	project, err := v.project()
	if err != nil {
		return err
	}
	var d object
	if err := v.get(project, "/deliveries/"+segment(v.args["id"]), nil, &d); err != nil {
		return err
	}
	return v.render(fasthttp.StatusOK, page{Name: "delivery", Nav: "deliveries", Project: project, Data: map[string]any{
		"D": d, "Attempts": d.List("attempts"), "Self": "/deliveries/" + segment(v.args["id"]),
	}})
}

// replayOne sends one again, now.
func (v *visit) replayOne() error {
	project, err := v.postedProject()
	if err != nil {
		return err
	}
	path := "/deliveries/" + segment(v.args["id"])
	if _, err := v.ask(ask{method: "POST", path: path + "/replay", project: project}); err != nil {
		return err
	}
	return v.redirect(path + "?done=replayed&project=" + url.QueryEscape(project))
}

// replayFailed sends all that failed again: all of the project's, or a subscription's, or since a time.
func (v *visit) replayFailed() error {
	project, err := v.postedProject()
	if err != nil {
		return err
	}
	body := map[string]any{}
	if n, err := strconv.ParseInt(v.form("webhook"), 10, 64); err == nil {
		body["webhook"] = n
	}
	if since := v.form("since"); since != "" {
		body["since"] = strings.TrimSuffix(since, "Z") + ":00Z" // of a datetime-local field, in UTC
	}
	done := "replayed_part"
	for range maxReplays {
		g, err := v.ask(ask{method: "POST", path: "/deliveries/replay", project: project, body: body})
		if err != nil {
			return err
		}
		var told struct {
			More   bool   `json:"more"`
			Before string `json:"before"`
		}
		if err := g.into(&told); err != nil {
			return err
		}
		if !told.More {
			done = "replayed"
			break
		}
		body["before"] = told.Before
	}
	return v.redirect("/deliveries?done=" + done + "&project=" + url.QueryEscape(project))
}

// maxReplays is how often the API is asked for one form: each time it takes about a thousand.
const maxReplays = 10
