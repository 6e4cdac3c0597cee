package store

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// The keys of the outbox. All share one hash tag, so that a batch is added at once whatever its
// queues: the outbox is on one node of a Cluster.
const (
	keyItems  = keyPrefix + "{outbox}:items"  // hash, id → body
	keyTokens = keyPrefix + "{outbox}:tokens" // hash, id → token of its last lease
	keyQueues = keyPrefix + "{outbox}:queues" // sorted set, key of a queue → the lowest score in it
	keyQueue  = keyPrefix + "{outbox}:queue:" // queue: sorted set, id → due in ms, or when its lease lapses
)

// Workers must be able to empty the outbox of a Redis that is out of memory; only enqueue may not go on
// there. noteQueue keeps keyQueues right after a change to a queue.
const (
	onFullServersToo = "#!lua flags=allow-oom"
	noteQueue        = `
local function note(queues, q)
  local first = redis.call('ZRANGE', q, 0, 0, 'WITHSCORES')
  if first[1] then redis.call('ZADD', queues, first[2], q) else redis.call('ZREM', queues, q) end
end
`
)

// enqueue is called with the keys of items, queues, and each queue that gets something; then for each
// item the number of its queue's key, id, due and body.
var enqueue = redis.NewScript(noteQueue + `
for i = 1, #ARGV, 4 do
  if redis.call('HSETNX', KEYS[1], ARGV[i+1], ARGV[i+3]) == 1 then
    redis.call('ZADD', KEYS[tonumber(ARGV[i])], ARGV[i+2], ARGV[i+1])
  end
end
for i = 3, #KEYS do note(KEYS[2], KEYS[i]) end
return 1`)

// takeDue is called with the keys of items, tokens, queues and the queue; now, how many, until when,
// and the token.
var takeDue = redis.NewScript(onFullServersToo + noteQueue + `
local ids = redis.call('ZRANGE', KEYS[4], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
local out = {}
for i, id in ipairs(ids) do
  redis.call('ZADD', KEYS[4], ARGV[3], id)
  redis.call('HSET', KEYS[2], id, ARGV[4])
  out[2*i-1] = id
  out[2*i] = redis.call('HGET', KEYS[1], id)
end
note(KEYS[3], KEYS[4])
return out`)

// giveBack is called with the same keys; the id, the token, and to reschedule it, due and body.
var giveBack = redis.NewScript(onFullServersToo + noteQueue + `
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
if ARGV[3] then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
  redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[4], ARGV[1])
end
note(KEYS[3], KEYS[4])
return 1`)

func outboxKeys(queue string) []string {
	return []string{keyItems, keyTokens, keyQueues, keyQueue + queue}
}

// Enqueue is Outbox's.
func (r *Redis) Enqueue(ctx context.Context, items ...Item) error {
	if err := checkItems(items); err != nil || len(items) == 0 {
		return err
	}
	keys, place := []string{keyItems, keyQueues}, map[string]int{}
	args := make([]any, 0, 4*len(items))
	for i := range items {
		it := &items[i]
		if place[it.Queue] == 0 {
			keys = append(keys, keyQueue+it.Queue)
			place[it.Queue] = len(keys)
		}
		args = append(args, place[it.Queue], it.ID, millis(it.Due), it.Body)
	}
	_, err := r.run(ctx, enqueue, keys, args...)
	return err
}

// Ready is Outbox's.
func (r *Redis) Ready(ctx context.Context, now time.Time) ([]string, error) {
	return r.queues(ctx, millis(now))
}

// queues returns the queues whose earliest item has at most this score.
func (r *Redis) queues(ctx context.Context, until any) ([]string, error) {
	keys, err := ask(ctx, r, func(ctx context.Context) ([]string, error) {
		return r.client.ZRangeArgs(ctx, redis.ZRangeArgs{Key: keyQueues, Start: "-inf", Stop: until, ByScore: true}).Result()
	})
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], keyQueue)
	}
	return keys, err
}

// Lease is Outbox's.
func (r *Redis) Lease(ctx context.Context, queue string, now time.Time, limit int, keep time.Duration) ([]Leased, error) {
	if limit < 1 {
		return nil, nil
	}
	token := rand.Text()
	answer, err := r.run(ctx, takeDue, outboxKeys(queue), millis(now), limit, millis(now.Add(keep)), token)
	if err != nil {
		return nil, err
	}
	pairs, _ := answer.([]any)
	var leased []Leased
	for i := 0; i+1 < len(pairs); i += 2 {
		id, _ := pairs[i].(string)
		body, _ := pairs[i+1].(string)
		leased = append(leased, Leased{ID: id, Queue: queue, Body: []byte(body), Token: token})
	}
	return leased, nil
}

// Ack is Outbox's.
func (r *Redis) Ack(ctx context.Context, l Leased) error {
	_, err := outcome(r.run(ctx, giveBack, outboxKeys(l.Queue), l.ID, l.Token))
	return err
}

// Reschedule is Outbox's.
func (r *Redis) Reschedule(ctx context.Context, l Leased, due time.Time, body []byte) error {
	_, err := outcome(r.run(ctx, giveBack, outboxKeys(l.Queue), l.ID, l.Token, millis(due), body))
	return err
}

// Held is Outbox's.
func (r *Redis) Held(ctx context.Context) (map[string]int, error) {
	queues, err := r.queues(ctx, "+inf")
	if err != nil || len(queues) == 0 {
		return map[string]int{}, err
	}
	counts, err := ask(ctx, r, func(ctx context.Context) ([]redis.Cmder, error) {
		return r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, q := range queues {
				p.ZCard(ctx, keyQueue+q)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	held := map[string]int{}
	for i, q := range queues {
		if n := counts[i].(*redis.IntCmd).Val(); n > 0 { // empty by now otherwise
			held[q] = int(n)
		}
	}
	return held, nil
}
