package notify

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// memory remembers one caller's variables, as one object.
type memory struct {
	mu    sync.Mutex
	known map[string]string // "PROJECT CALLER TTL" → object
}

func (m *memory) Remember(_ context.Context, project, caller string, values []byte, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[fmt.Sprint(project, " ", caller, " ", ttl)] = string(values)
	return nil
}

func (m *memory) Variables(_ context.Context, project, caller string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, values := range m.known {
		if strings.HasPrefix(key, project+" "+caller+" ") {
			return []byte(values), nil
		}
	}
	return nil, nil
}

func (m *memory) get(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[key]
}
