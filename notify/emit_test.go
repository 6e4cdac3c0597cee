package notify

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookswitch/schema"
	"hookswitch/store"
)

// decided is a call of project "p" that was decided on, with what a lookup said of it.
func decided(id string, said ...schema.Custom) (*schema.Call, *schema.Decision) {
	call, d := new(schema.Call), new(schema.Decision)
	call.At = time.Now()
	call.Set(schema.ParamCallID, []byte(id))
	for _, v := range said {
		call.SetNamed([]byte(v.Name), []byte(v.Value))
	}
	d.Project = "p"
	return call, d
}

// A graceful stop once dropped what decisions had emitted and nobody had accepted yet, without a word.
func TestWhatDecisionsEmitOutlivesAGracefulStop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hookswitch.db")
	r, reg := newReceiver(t), prometheus.NewRegistry()
	s := openBolt(t, path)
	slow := &slowToTake{Store: s, begun: make(chan struct{}, 1000), may: make(chan struct{})}
	b := start(t, slow, nil, Options{Registerer: reg}, webhook(1, r.URL+"/"))
	const events = 100
	for i := range events {
		b.Emit(decided(fmt.Sprint(i)))
	}
	for range emitters {
		<-slow.begun // the others wait in the channel
	}
	var stopping sync.WaitGroup
	stopping.Go(b.stop)
	time.Sleep(20 * time.Millisecond)
	close(slow.may)
	stopping.Wait()
	if n := metric(t, reg, "events_dropped_total"); n != 0 {
		t.Errorf("%v were dropped", n)
	}
	b = start(t, s, nil, Options{}, webhook(1, r.URL+"/"))
	eventually(t, "all are delivered", func() bool { return len(delivered(r)) == events && b.empty() })
}

// slowToTake is a store that takes events when it may.
type slowToTake struct {
	store.Store
	begun chan struct{}
	may   chan struct{}
}

func (s *slowToTake) EnqueueOnce(ctx context.Context, once store.Once, items ...store.Item) ([]byte, bool, error) {
	s.begun <- struct{}{}
	select {
	case <-s.may:
	case <-ctx.Done():
		return nil, false, store.ErrUnavailable
	}
	return s.Store.EnqueueOnce(ctx, once, items...)
}

func TestAnEmittedEventHasTheDirectionOfItsLookup(t *testing.T) {
	r := newReceiver(t)
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), nil, Options{},
		webhook(1, r.URL+"/in", func(w *schema.Webhook) { w.TypeCall = "inbound" }), webhook(2, r.URL+"/out", func(w *schema.Webhook) { w.TypeCall = "outbound" }))
	b.Emit(decided("unsaid"))
	b.Emit(decided("direction", schema.Custom{Name: "direction", Value: "outbound"}))
	b.Emit(decided("type", schema.Custom{Name: "type", Value: "out"}))
	b.Emit(decided("both", schema.Custom{Name: "type", Value: "out"}, schema.Custom{Name: "direction", Value: "in"}))
	b.Emit(decided("neither", schema.Custom{Name: "type", Value: "sideways"}))
	eventually(t, "all are delivered", func() bool { return len(r.requests("")) == 5 && b.empty() })
	for path, want := range map[string][]string{"/in": {"both", "neither", "unsaid"}, "/out": {"direction", "type"}} {
		got := map[string]bool{}
		for _, q := range r.requests(path) {
			got[q.CallID] = true
		}
		for _, id := range want {
			if !got[id] {
				t.Errorf("%s got %v; want %v", path, got, want)
			}
		}
	}
}
