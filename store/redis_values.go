package store

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Append is Trails'.
func (r *Redis) Append(ctx context.Context, trail string, body []byte, keep int) error {
	if err := checkNames(trail); err != nil {
		return err
	}
	_, err := ask(ctx, r, func(ctx context.Context) (string, error) {
		return r.client.XAdd(ctx, &redis.XAddArgs{Stream: keyTrail + trail, MaxLen: int64(max(1, keep)), Values: []any{"b", body}}).Result()
	})
	return err
}

// Entries is Trails'. An id is the stream's own.
func (r *Redis) Entries(ctx context.Context, trail, before string, limit int) ([]Entry, error) {
	end := "+"
	if before != "" {
		if !isStreamID(before) {
			return nil, ErrNotFound
		}
		end = "(" + before
	}
	if limit < 1 {
		return nil, nil
	}
	found, err := ask(ctx, r, func(ctx context.Context) ([]redis.XMessage, error) {
		return r.client.XRevRangeN(ctx, keyTrail+trail, end, "-", int64(limit)).Result()
	})
	var list []Entry
	for _, m := range found {
		body, _ := m.Values["b"].(string)
		list = append(list, Entry{m.ID, []byte(body)})
	}
	return list, err
}

func isStreamID(id string) bool {
	ms, n, _ := strings.Cut(id, "-")
	_, err1 := strconv.ParseUint(ms, 10, 64)
	_, err2 := strconv.ParseUint(n, 10, 64)
	return err1 == nil && err2 == nil
}

// Set is Values'.
func (r *Redis) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := r.set(ctx, key, value, redis.SetArgs{TTL: ttl})
	return err
}

// SetIfAbsent is Values'.
func (r *Redis) SetIfAbsent(ctx context.Context, key string, value []byte, ttl time.Duration) ([]byte, bool, error) {
	old, err := r.set(ctx, key, value, redis.SetArgs{Mode: "NX", Get: true, TTL: ttl})
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, true, nil
	case err != nil:
		return nil, false, err
	}
	return []byte(old), false, nil
}

func (r *Redis) set(ctx context.Context, key string, value []byte, how redis.SetArgs) (string, error) {
	if err := checkValue(key, how.TTL); err != nil {
		return "", err
	}
	return ask(ctx, r, func(ctx context.Context) (string, error) {
		return r.client.SetArgs(ctx, keyValue+key, value, how).Result()
	})
}

// Get is Values'.
func (r *Redis) Get(ctx context.Context, key string) ([]byte, error) {
	return ask(ctx, r, func(ctx context.Context) ([]byte, error) { return r.client.Get(ctx, keyValue+key).Bytes() })
}

// Unset is Values'.
func (r *Redis) Unset(ctx context.Context, key string) error {
	_, err := ask(ctx, r, func(ctx context.Context) (int64, error) { return r.client.Del(ctx, keyValue+key).Result() })
	return err
}

// increment is called with the counter's key and its time to live in ms.
var increment = redis.NewScript(`
local n = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return n`)

// Increment is Values'.
func (r *Redis) Increment(ctx context.Context, key string, ttl time.Duration) (uint64, error) {
	if err := checkValue(key, ttl); err != nil {
		return 0, err
	}
	return outcome(r.run(ctx, increment, []string{keyCounter + key}, ttl.Milliseconds()))
}

// Count is Values'.
func (r *Redis) Count(ctx context.Context, key string) (uint64, error) {
	return r.number(ctx, keyCounter+key)
}
