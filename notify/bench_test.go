package notify

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

// instant is a Sender whose receivers are there already.
type instant struct{}

func (instant) Prepare(*schema.Project, *schema.Webhook) (Endpoint, error) { return instant{}, nil }
func (instant) Close()                                                     {}
func (instant) Send(*schema.Event, string, int, string, time.Time) schema.Sent {
	return schema.Sent{Status: 200, Request: "POST / HTTP/1.1", Answer: "200 OK"}
}

// An event's way through the room and the store: accepted, leased, delivered, logged and settled.
func BenchmarkEvent(b *testing.B) {
	for name, open := range map[string]func(testing.TB) store.Store{
		"bbolt": func(t testing.TB) store.Store { return openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")) },
		"Redis": func(t testing.TB) store.Store { return openRedis(t, startRedis(t)) },
	} {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			n := New(Options{Store: s, Sender: instant{}})
			var webhooks []schema.Webhook
			for i := range 50 {
				webhooks = append(webhooks, webhook(int64(i+1), "http://127.0.0.1/", func(w *schema.Webhook) { w.When = conditions(fmt.Sprintf("callid suffix -%d", i)) }))
			}
			must(b, n.Load(config(schema.Events{Workers: 256, LogFor: time.Hour, LogEntries: 1000}, webhooks...)))
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan struct{})
			go func() {
				n.Run(ctx)
				close(ended)
			}()
			var values []schema.Custom
			for p := range schema.Param(20) {
				values = append(values, schema.Custom{Name: p.Name(), Value: "value of it"})
			}
			slots := make(chan struct{}, 64)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				slots <- struct{}{}
				go func() {
					if a := n.Accept(ctx, event(fmt.Sprintf("%d-%d", i, i%50), values...), ""); a != schema.EventAccepted {
						b.Errorf("got %s", acceptances[a])
					}
					<-slots
				}()
			}
			for range cap(slots) {
				slots <- struct{}{} // all are accepted
			}
			eventually(b, "all is delivered", func() bool {
				held, err := s.Held(ctx)
				return err == nil && len(held) == 0
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			cancel()
			<-ended
			n.Close()
		})
	}
}
