package meter

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Page is a Prometheus page: the values by series, as they are written there.
type Page map[string]float64

// Scrape reads http://addr/metrics.
func Scrape(addr string) (Page, error) {
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + addr + "/metrics")
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scrape: %s: %.100s", resp.Status, text)
	}
	return parsePage(text)
}

// parsePage reads the text format: "series value" lines, and comments.
func parsePage(text []byte) (Page, error) {
	page := Page{}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		// A label's value may hold blanks, the number after it may not.
		i := bytes.LastIndexByte(line, ' ')
		if i < 0 {
			return nil, fmt.Errorf("metrics: found %.60q; want a series and its value", line)
		}
		value, err := strconv.ParseFloat(string(line[i+1:]), 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %.60q: %w", line, err)
		}
		page[string(line[:i])] = value
	}
	return page, nil
}
