package store

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// benchmarks are what the service does most, each by 64 goroutines at once.
var benchmarks = []struct {
	name string
	do   func(ctx context.Context, s Store, n int64) error
}{
	{"PutDoc", func(ctx context.Context, s Store, n int64) error {
		_, err := s.PutDoc(ctx, "project", fmt.Sprint(n), payload, 0)
		return err
	}},
	{"GetDoc", func(ctx context.Context, s Store, n int64) error {
		_, err := s.GetDoc(ctx, "project", "there")
		return err
	}},
	{"Set", func(ctx context.Context, s Store, n int64) error {
		return s.Set(ctx, fmt.Sprint(n%10_000), payload, time.Hour)
	}},
	{"Get", func(ctx context.Context, s Store, n int64) error {
		_, err := s.Get(ctx, "there")
		return err
	}},
	{"Increment", func(ctx context.Context, s Store, n int64) error {
		_, err := s.Increment(ctx, fmt.Sprint(n%10_000), time.Hour)
		return err
	}},
	{"Append", func(ctx context.Context, s Store, n int64) error { return s.Append(ctx, "audit", payload, 10_000) }},
	{"EnqueueThree", func(ctx context.Context, s Store, n int64) error {
		items := make([]Item, 3)
		for i := range items {
			items[i] = Item{ID: fmt.Sprint(n, "-", i), Queue: fmt.Sprint("endpoint ", (n+int64(i))%50), Due: noon, Body: payload}
		}
		return tryEnqueue(ctx, s, items...)
	}},
	{"EnqueueLeaseAck", func(ctx context.Context, s Store, n int64) error {
		queue := fmt.Sprint("endpoint ", n%50)
		if err := tryEnqueue(ctx, s, Item{ID: fmt.Sprint(n), Queue: queue, Due: noon, Body: payload}); err != nil {
			return err
		}
		leased, err := s.Lease(ctx, queue, noon, 1, time.Hour)
		if err != nil || len(leased) == 0 {
			return fmt.Errorf("leased %d: %v", len(leased), err)
		}
		return s.Ack(ctx, leased[0])
	}},
}

// payload is as long as an event with its delivery.
var payload = make([]byte, 600)

func benchmark(b *testing.B, s Store) {
	defer s.Close()
	ctx := context.Background()
	if _, err := s.PutDoc(ctx, "project", "there", payload, 0); err != nil {
		b.Fatal(err)
	}
	if err := s.Set(ctx, "there", payload, time.Hour); err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := bm.do(ctx, s, n.Add(1)); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}

func BenchmarkBolt(b *testing.B) {
	s, err := Open(context.Background(), "bolt:"+filepath.Join(b.TempDir(), "hookswitch.db"))
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, s)
}

func BenchmarkRedis(b *testing.B) {
	for _, sync := range []string{"no", "everysec", "always"} {
		b.Run("appendfsync="+sync, func(b *testing.B) {
			s, err := Open(context.Background(), "redis://"+startRedis(b, "--appendfsync", sync).addr())
			if err != nil {
				b.Fatal(err)
			}
			benchmark(b, s)
		})
	}
}
