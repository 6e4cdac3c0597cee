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
	keyItems   = keyPrefix + "{outbox}:items"   // hash, id → body
	keyTokens  = keyPrefix + "{outbox}:tokens"  // hash, id → token of its last lease
	keyGrouped = keyPrefix + "{outbox}:grouped" // hash, id → key of its group
	keyQueues  = keyPrefix + "{outbox}:queues"  // sorted set, key of a queue → the lowest score in it
	keyQueue   = keyPrefix + "{outbox}:queue:"  // queue: sorted set, id → due in ms, or when its lease lapses; +inf behind another of its group
	keyGroup   = keyPrefix + "{outbox}:group:"  // group: list of "DUE ID NUL key of its queue"; without that by older ones: its own queue's
	keyOnce    = keyPrefix + "{outbox}:once:"   // name: string
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

// enqueue is called with the keys of items, queues, grouped, the name that is used once, and each
// queue that gets something; the value and time to live of the name, 0 for no name; then for each item
// the number of its queue's key, id, due, body, and the key of its group or "". It answers with the ids
// of items that were there already, or with what the name came with before.
var enqueue = redis.NewScript(noteQueue + `
if ARGV[2] ~= '0' then
  local old = redis.call('GET', KEYS[4])
  if old then
    redis.call('SET', KEYS[4], old, 'KEEPTTL') -- for a write, behind which replicas that are waited for have the first one
    return old
  end
  redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[2])
end
local there = {}
for i = 3, #ARGV, 5 do
  local q, id, due, group = KEYS[tonumber(ARGV[i])], ARGV[i+1], ARGV[i+2], ARGV[i+4]
  if redis.call('HSETNX', KEYS[1], id, ARGV[i+3]) == 1 then
    if group ~= '' then
      redis.call('HSET', KEYS[3], id, group)
      if redis.call('RPUSH', group, due .. ' ' .. id .. '\0' .. q) > 1 then due = '+inf' end
    end
    redis.call('ZADD', q, due, id)
  else
    there[#there+1] = id
  end
end
for i = 5, #KEYS do note(KEYS[2], KEYS[i]) end
return there`)

// takeDue is called with the keys of items, tokens, queues, and each queue; now, the token, and for
// each queue how many and until when. It answers with the number of the queue, id and body of each.
var takeDue = redis.NewScript(onFullServersToo + noteQueue + `
local out = {}
for q = 4, #KEYS do
  local limit, till = ARGV[2*q-5], ARGV[2*q-4]
  local ids = redis.call('ZRANGE', KEYS[q], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, limit)
  for _, id in ipairs(ids) do
    redis.call('ZADD', KEYS[q], till, id)
    redis.call('HSET', KEYS[2], id, ARGV[2])
    out[#out+1] = q - 4
    out[#out+1] = id
    out[#out+1] = redis.call('HGET', KEYS[1], id)
  end
  note(KEYS[3], KEYS[q])
end
return out`)

// settle is called with the keys of items, tokens, queues, grouped, and each queue; then for each item
// the number of its queue's key, id, token, when it is due again, "" for never, and its body. It answers
// how many it settled. The keys of groups are in the outbox' slot of a Cluster too.
var settle = redis.NewScript(onFullServersToo + noteQueue + `
local settled = 0
for i = 1, #ARGV, 5 do
  local q, id, due = KEYS[tonumber(ARGV[i])], ARGV[i+1], ARGV[i+3]
  if redis.call('HGET', KEYS[2], id) == ARGV[i+2] then
    settled = settled + 1
    redis.call('HDEL', KEYS[2], id)
    if due ~= '' then
      redis.call('HSET', KEYS[1], id, ARGV[i+4])
      redis.call('ZADD', q, due, id)
    else
      redis.call('HDEL', KEYS[1], id)
      redis.call('ZREM', q, id)
      local group = redis.call('HGET', KEYS[4], id)
      if group then
        redis.call('HDEL', KEYS[4], id)
        redis.call('LPOP', group)
        local following = redis.call('LINDEX', group, 0)
        if following then
          local at, name, its = string.match(following, '^(%d+) (%Z*)%z?(.*)$')
          if its == '' then its = q end
          redis.call('ZADD', its, at, name)
          note(KEYS[3], its)
        end
      end
    end
  end
end
for i = 5, #KEYS do note(KEYS[3], KEYS[i]) end
return settled`)

// Enqueue is Outbox's.
func (r *Redis) Enqueue(ctx context.Context, items ...Item) (there []string, err error) {
	if err := checkItems(items); err != nil || len(items) == 0 {
		return nil, err
	}
	answer, err := r.enqueue(ctx, "none", nil, 0, items)
	ids, _ := answer.([]any)
	for _, id := range ids {
		there = append(there, id.(string))
	}
	return there, err
}

// EnqueueOnce is Outbox's.
func (r *Redis) EnqueueOnce(ctx context.Context, once Once, items ...Item) ([]byte, bool, error) {
	if err := checkOnce(once, items); err != nil {
		return nil, false, err
	}
	answer, err := r.enqueue(ctx, once.Name, once.Value, once.Keep.Milliseconds(), items)
	if existing, there := answer.(string); there && err == nil {
		return []byte(existing), false, nil
	}
	return nil, err == nil, err
}

func (r *Redis) enqueue(ctx context.Context, name string, value []byte, keep int64, items []Item) (any, error) {
	keys := numbered{keys: []string{keyItems, keyQueues, keyGrouped, keyOnce + name}}
	args := make([]any, 0, 2+5*len(items))
	args = append(args, value, keep)
	for i := range items {
		it, group := &items[i], ""
		if it.Group != "" {
			group = keyGroup + it.Group
		}
		args = append(args, keys.of(it.Queue), it.ID, millis(it.Due), it.Body, group)
	}
	return r.replicated(ctx, enqueue, keys.keys, args...)
}

// numbered are the keys of a script, each queue's once.
type numbered struct {
	keys  []string
	place map[string]int
}

// of returns the number of a queue's key, from 1 as Lua counts.
func (n *numbered) of(queue string) int {
	if at := n.place[queue]; at != 0 {
		return at
	}
	if n.place == nil {
		n.place = map[string]int{}
	}
	n.keys = append(n.keys, keyQueue+queue)
	n.place[queue] = len(n.keys)
	return len(n.keys)
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
	return r.LeaseAll(ctx, now, Want{queue, limit, keep})
}

// LeaseAll is Outbox's.
func (r *Redis) LeaseAll(ctx context.Context, now time.Time, wants ...Want) ([]Leased, error) {
	token := rand.Text()
	keys, args := []string{keyItems, keyTokens, keyQueues}, []any{millis(now), token}
	var asked []string
	for _, w := range wants {
		if w.Limit > 0 {
			keys, asked = append(keys, keyQueue+w.Queue), append(asked, w.Queue)
			args = append(args, w.Limit, millis(now.Add(w.Keep)))
		}
	}
	if len(asked) == 0 {
		return nil, nil
	}
	answer, err := r.run(ctx, takeDue, keys, args...)
	if err != nil {
		return nil, err
	}
	found, _ := answer.([]any)
	leased := make([]Leased, 0, len(found)/3)
	for i := 0; i+2 < len(found); i += 3 {
		queue, _ := found[i].(int64)
		id, _ := found[i+1].(string)
		body, _ := found[i+2].(string)
		leased = append(leased, Leased{ID: id, Queue: asked[queue], Body: []byte(body), Token: token})
	}
	return leased, nil
}

// Ack is Outbox's.
func (r *Redis) Ack(ctx context.Context, l Leased) error { return only(r.Settle(ctx, Outcome{Of: l})) }

// Reschedule is Outbox's.
func (r *Redis) Reschedule(ctx context.Context, l Leased, due time.Time, body []byte) error {
	return only(r.Settle(ctx, Outcome{Of: l, Again: true, Due: due, Body: body}))
}

// Settle is Outbox's.
func (r *Redis) Settle(ctx context.Context, outcomes ...Outcome) (lost int, err error) {
	if len(outcomes) == 0 {
		return 0, nil
	}
	keys := numbered{keys: []string{keyItems, keyTokens, keyQueues, keyGrouped}}
	args := make([]any, 0, 5*len(outcomes))
	for i := range outcomes {
		o := &outcomes[i]
		var due any = ""
		if o.Again {
			due = millis(o.Due)
		}
		args = append(args, keys.of(o.Of.Queue), o.Of.ID, o.Of.Token, due, o.Body)
	}
	answer, err := r.run(ctx, settle, keys.keys, args...)
	settled, _ := answer.(int64)
	if err != nil {
		return 0, err
	}
	return len(outcomes) - int(settled), nil
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
