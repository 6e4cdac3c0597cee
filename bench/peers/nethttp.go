package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sony/gobreaker/v2"
)

// netHTTP does hookswitch's job as one would write it in an afternoon: net/http, encoding/json, a
// breaker, a time-out, a check of the answer, a fallback.
type netHTTP struct {
	hook    string
	client  http.Client
	breaker *gobreaker.CircuitBreaker[[]string]
	numbers map[string]string // the number called and its hook's id
}

type answer struct {
	CallID   string `json:"callid"`
	Project  string `json:"project"`
	Source   string `json:"source"`
	Reason   string `json:"reason"`
	DstPhone string `json:"dst_phone"`
	Steps    []step `json:"steps"`
	Hook     string `json:"hook"`
}

type step struct {
	Dial     []string `json:"dial"`
	Strategy string   `json:"strategy"`
	Timeout  int      `json:"timeout_s"`
}

func newNetHTTP(hook string) *netHTTP {
	return &netHTTP{
		hook:    "http://" + hook + "/route",
		client:  http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}},
		breaker: gobreaker.NewCircuitBreaker[[]string](gobreaker.Settings{Name: "hook"}),
		numbers: map[string]string{Number(0): "h0", Number(1): "h1"},
	}
}

// ServeNetHTTP runs it.
func ServeNetHTTP(listen, hook string) error {
	if err := http.ListenAndServe(listen, http.HandlerFunc(newNetHTTP(hook).route)); err != nil {
		return fmt.Errorf("nethttp: %w", err)
	}
	return nil
}

func (s *netHTTP) route(w http.ResponseWriter, r *http.Request) {
	call, err := readCall(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	callee, _ := call["callee"].(string)
	hook, ok := s.numbers[callee]
	if !ok {
		http.NotFound(w, r)
		return
	}
	callID, _ := call["callid"].(string)
	a := answer{CallID: callID, Project: "p0", Source: "hook", Reason: "ok", Hook: hook}
	list, err := s.breaker.Execute(func() ([]string, error) { return s.ask(r.Context(), r.Method, call) })
	if err != nil {
		list, a.Source, a.Reason = []string{"380440000001"}, "fallback", err.Error()
	}
	a.DstPhone = strings.Join(list, ",")
	a.Steps = []step{{Dial: list, Strategy: "all", Timeout: 90}}
	body, err := json.Marshal(a)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the asker has gone
}

func readCall(r *http.Request) (map[string]any, error) {
	call := map[string]any{}
	if r.Method == http.MethodPost {
		return call, json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&call)
	}
	for name, values := range r.URL.Query() {
		call[name] = values[0]
	}
	return call, nil
}

func (s *netHTTP) ask(ctx context.Context, method string, call map[string]any) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 800*time.Millisecond)
	defer cancel()
	req, err := s.request(ctx, method, call)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New("bad_status")
	}
	var said struct {
		DstPhone string `json:"dst_phone"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&said); err != nil {
		return nil, err
	}
	return check(said.DstPhone)
}

func (s *netHTTP) request(ctx context.Context, method string, call map[string]any) (*http.Request, error) {
	if method == http.MethodPost {
		body, err := json.Marshal(call)
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, method, s.hook, bytes.NewReader(body))
		if err == nil {
			req.Header.Set("Content-Type", "application/json")
		}
		return req, err
	}
	query := url.Values{}
	for _, name := range getFields {
		text, _ := call[name].(string)
		query.Set(name, text)
	}
	return http.NewRequestWithContext(ctx, method, s.hook+"?"+query.Encode(), nil)
}

func check(text string) ([]string, error) {
	var list []string
	for _, d := range strings.Split(text, ",") {
		if len(d) < 7 || len(d) > 15 || strings.Trim(d, "0123456789") != "" {
			return nil, errors.New("invalid_destination")
		}
		if strings.HasPrefix(d, "380") {
			list = append(list, d)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("forbidden_destination")
	}
	return list, nil
}
