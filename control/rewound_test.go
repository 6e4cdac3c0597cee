package control

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

// rewound is a store that lost its last change, as a Redis may in a fail-over, and then gave the version
// of it to another one.
type rewound struct {
	store.Store
	instead map[string][]byte // bodies by id
}

func (s *rewound) ListDocs(ctx context.Context, kind, prefix, after string, limit int) ([]store.Doc, error) {
	list, err := s.Store.ListDocs(ctx, kind, prefix, after, limit)
	for i := range list {
		if body, ok := s.instead[list[i].ID]; ok {
			list[i].Body = body
		}
	}
	return list, err
}

func TestAVersionThatIsGivenAgainIsTakenForWhatItIs(t *testing.T) {
	kept, err := store.Open(t.Context(), bolt(t))
	must(t, err)
	t.Cleanup(func() { kept.Close() })
	s := &rewound{Store: kept, instead: map[string][]byte{}}
	applied := 0
	p := New(Options{Store: s, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(), Now: time.Now, Apply: func(*schema.Config) error { applied++; return nil }})
	must(t, p.SetFile(&schema.Config{}))
	_, err = p.Create(t.Context(), "ops", project("a", "380440000001"))
	must(t, err)
	again := func() {
		t.Helper()
		p.listed = time.Time{} // as after listEvery, or where the store says ErrTooOld
		must(t, p.Sync(t.Context()))
	}
	again()
	if applied != 2 {
		t.Errorf("applied %d times; want nothing applied for what is known", applied)
	}
	s.instead["a"], err = schema.EncodeResource(project("a", "380440000002"), true)
	must(t, err)
	again()
	if got := p.Current().Projects[0].Numbers[0].Number; got != "380440000002" {
		t.Errorf("got %s; want what the store has now", got)
	}
}
