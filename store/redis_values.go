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
	if err := r.check(ctx); err != nil {
		return err
	}
	return unavailable(r.client.XAdd(ctx, &redis.XAddArgs{Stream: keyTrail + trail, MaxLen: int64(max(1, keep)), Values: []any{"b", body}}).Err())
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
	if err := r.check(ctx); err != nil || limit < 1 {
		return nil, err
	}
	found, err := r.client.XRevRangeN(ctx, keyTrail+trail, end, "-", int64(limit)).Result()
	if err != nil {
		return nil, unavailable(err)
	}
	var list []Entry
	for _, m := range found {
		body, _ := m.Values["b"].(string)
		list = append(list, Entry{m.ID, []byte(body)})
	}
	return list, nil
}

func isStreamID(id string) bool {
	ms, n, _ := strings.Cut(id, "-")
	_, err1 := strconv.ParseUint(ms, 10, 64)
	_, err2 := strconv.ParseUint(n, 10, 64)
	return err1 == nil && err2 == nil
}

// Set is Values'.
func (r *Redis) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := r.checkValue(ctx, key, ttl); err != nil {
		return err
	}
	return unavailable(r.client.SetArgs(ctx, keyValue+key, value, redis.SetArgs{TTL: inMillis(ttl)}).Err())
}

// SetIfAbsent is Values'.
func (r *Redis) SetIfAbsent(ctx context.Context, key string, value []byte, ttl time.Duration) ([]byte, bool, error) {
	if err := r.checkValue(ctx, key, ttl); err != nil {
		return nil, false, err
	}
	old, err := r.client.SetArgs(ctx, keyValue+key, value, redis.SetArgs{Mode: "NX", Get: true, TTL: inMillis(ttl)}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, true, nil
	case err != nil:
		return nil, false, unavailable(err)
	}
	return []byte(old), false, nil
}

func (r *Redis) checkValue(ctx context.Context, key string, ttl time.Duration) error {
	if err := checkNames(key); err != nil {
		return err
	}
	if err := checkTTL(ttl); err != nil {
		return err
	}
	return r.check(ctx)
}

// inMillis rounds down, as go-redis sends whole seconds as EX, and complains on stderr of anything
// smaller than a millisecond.
func inMillis(ttl time.Duration) time.Duration { return ttl.Truncate(time.Millisecond) }

// Get is Values'.
func (r *Redis) Get(ctx context.Context, key string) ([]byte, error) {
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	v, err := r.client.Get(ctx, keyValue+key).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, ErrNotFound
	case err != nil:
		return nil, unavailable(err)
	}
	return v, nil
}

// Unset is Values'.
func (r *Redis) Unset(ctx context.Context, key string) error {
	if err := r.check(ctx); err != nil {
		return err
	}
	return unavailable(r.client.Del(ctx, keyValue+key).Err())
}

// increment is called with the counter's key and its time to live in ms.
var increment = redis.NewScript(`
local n = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return n`)

// Increment is Values'.
func (r *Redis) Increment(ctx context.Context, key string, ttl time.Duration) (uint64, error) {
	if err := r.checkValue(ctx, key, ttl); err != nil {
		return 0, err
	}
	return outcome(r.run(ctx, increment, []string{keyCounter + key}, ttl.Milliseconds()))
}

// Count is Values'.
func (r *Redis) Count(ctx context.Context, key string) (uint64, error) {
	return r.number(ctx, keyCounter+key)
}
