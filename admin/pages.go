package admin

import (
	"fmt"
	"net/url"
	"strconv"
)

// page is a part of a list, in the documented API's envelope. From and To count from 1 and are null
// on an empty page.
type page struct {
	CurrentPage  int     `json:"current_page"`
	Data         []any   `json:"data"`
	FirstPageURL string  `json:"first_page_url"`
	From         *int    `json:"from"`
	LastPage     int     `json:"last_page"`
	LastPageURL  string  `json:"last_page_url"`
	NextPageURL  *string `json:"next_page_url"`
	Path         string  `json:"path"`
	PerPage      int     `json:"per_page"`
	PrevPageURL  *string `json:"prev_page_url"`
	To           *int    `json:"to"`
	Total        int     `json:"total"`
}

// The documented API has 15 on a page.
const (
	perPage    = 15
	maxPerPage = 100
)

// page answers the page that the parameters page and per_page ask for, of a list of total items. Only
// those on it are encoded: item is asked for the one at an index.
func (r *request) page(total int, item func(i int) (any, error)) error {
	number, err := r.count("page", 1, 1<<31)
	if err != nil {
		return err
	}
	per, err := r.count("per_page", perPage, maxPerPage)
	if err != nil {
		return err
	}
	first := min((number-1)*per, total)
	end := min(first+per, total)
	p := page{
		CurrentPage: number, Data: make([]any, 0, end-first), LastPage: max(1, (total+per-1)/per),
		Path: r.url(), PerPage: per, Total: total,
	}
	for i := first; i < end; i++ {
		one, err := item(i)
		if err != nil {
			return err
		}
		p.Data = append(p.Data, one)
	}
	if end > first {
		from := first + 1
		p.From, p.To = &from, &end
	}
	link := r.links("page")
	p.FirstPageURL, p.LastPageURL = link("1"), link(strconv.Itoa(p.LastPage))
	if number < p.LastPage {
		next := link(strconv.Itoa(number + 1))
		p.NextPageURL = &next
	}
	if number > 1 {
		prev := link(strconv.Itoa(number - 1))
		p.PrevPageURL = &prev
	}
	return r.answer(p)
}

// trail is a part of a list that grows at its beginning, so that its pages have no numbers: the next
// one is that before the last entry of this one.
type trail struct {
	Data        []any   `json:"data"`
	NextPageURL *string `json:"next_page_url"`
	Path        string  `json:"path"`
	PerPage     int     `json:"per_page"`
}

// trail answers up to per entries; next is what the parameter before is on the following page, "" where
// there is none.
func (r *request) trail(data []any, per int, next string) error {
	t := trail{Data: data, Path: r.url(), PerPage: per}
	if data == nil {
		t.Data = []any{}
	}
	if next != "" {
		link := r.links("before")(next)
		t.NextPageURL = &link
	}
	return r.answer(t)
}

// count reads a parameter that counts from 1 to high.
func (r *request) count(name string, otherwise, high int) (int, error) {
	text := r.query(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > high {
		return 0, invalid(name, fmt.Sprintf("found %.20q; want 1 to %d", text, high))
	}
	return n, nil
}

// url returns the request's URL without its query, as its client knows it.
func (r *request) url() string {
	scheme := "http"
	// A proxy in front says so. Whoever lies about it gets a link of their own making, and nobody else.
	if r.http.IsTLS() || r.header("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	u := url.URL{Scheme: scheme, Host: string(r.http.Host()), Path: string(r.http.Path())}
	return u.String()
}

// links returns what makes the URL of another page, with the request's other parameters as they are.
func (r *request) links(param string) func(value string) string {
	others := ""
	for key, value := range r.http.QueryArgs().All() {
		if string(key) != param {
			others += url.QueryEscape(string(key)) + "=" + url.QueryEscape(string(value)) + "&"
		}
	}
	prefix := r.url() + "?" + others + param + "="
	return func(value string) string { return prefix + url.QueryEscape(value) }
}
