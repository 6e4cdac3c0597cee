package store

import (
	"bytes"
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Swap is Values'.
func (b *Bolt) Swap(ctx context.Context, key string, old, value []byte, ttl time.Duration) error {
	old, value = bytes.Clone(old), bytes.Clone(value)
	return b.setValue(ctx, aValue, key, ttl, func(found []byte) ([]byte, error) {
		if (found == nil) != (old == nil) || !bytes.Equal(found, old) {
			return nil, ErrConflict
		}
		return value, nil
	})
}

// swap is called with the value's key, the value expected, 1 where one is, the new value, and its time
// to live in ms.
var swap = redis.NewScript(`
local found = redis.call('GET', KEYS[1])
if ARGV[2] == '1' then
  if found ~= ARGV[1] then return 0 end
elseif found then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1`)

// Swap is Values'.
func (r *Redis) Swap(ctx context.Context, key string, old, value []byte, ttl time.Duration) error {
	if err := checkValue(key, ttl); err != nil {
		return err
	}
	expected := 0
	if old != nil {
		expected = 1
	}
	_, err := outcome(r.run(ctx, swap, []string{keyValue + key}, old, expected, value, ttl.Milliseconds()))
	return err
}
