package store

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// The keys of the records. All share one hash tag, so that those of many logs are added at once.
const (
	keyLogs    = keyPrefix + "{records}:logs"    // set of the logs' names
	keyLogIDs  = keyPrefix + "{records}:ids:"    // log: sorted set of ids, all with score 0, but for those held
	keyLogHeld = keyPrefix + "{records}:held:"   // log: sorted set of the ids that are held, all with score 0
	keyLogBody = keyPrefix + "{records}:bodies:" // log: hash, id → body
)

func logKeys(log string) []string {
	return []string{keyLogIDs + log, keyLogHeld + log, keyLogBody + log}
}

// addRecords is called with the key of the logs, and of each log its ids, those held, and bodies; how
// many to keep, and how many held ones; then for each record the number of its log's ids, the log, id,
// body, and 1 to hold it. It answers how many held ones it forgot.
var addRecords = redis.NewScript(`
local function trim(ids, bodies, keep)
  local over = redis.call('ZCARD', ids) - tonumber(keep)
  if over <= 0 then return 0 end
  for _, first in ipairs(redis.call('ZRANGE', ids, 0, over - 1)) do
    redis.call('ZREM', ids, first)
    redis.call('HDEL', bodies, first)
  end
  return over
end
local dropped = 0
for i = 3, #ARGV, 5 do
  local at, log, id = tonumber(ARGV[i]), ARGV[i+1], ARGV[i+2]
  local ids, held, bodies = KEYS[at], KEYS[at+1], KEYS[at+2]
  local old = redis.call('HGET', bodies, id)
  redis.call('HSET', bodies, id, (old or '') .. ARGV[i+3])
  if ARGV[i+4] == '1' then
    if redis.call('ZADD', held, 0, id) == 1 then
      redis.call('SADD', KEYS[1], log)
      redis.call('ZREM', ids, id)
      dropped = dropped + trim(held, bodies, ARGV[2])
    end
  elseif not old then
    redis.call('ZADD', ids, 0, id)
    redis.call('SADD', KEYS[1], log)
    trim(ids, bodies, ARGV[1])
  end
end
return dropped`)

// forgetRecords is called with the keys of the logs, the log's ids, those held, and bodies; the bound,
// how many, and the log.
var forgetRecords = redis.NewScript(onFullServersToo + `
local forgotten = 0
for k = 2, 3 do
  for _, id in ipairs(redis.call('ZRANGE', KEYS[k], '-', ARGV[1], 'BYLEX', 'LIMIT', 0, ARGV[2] - forgotten)) do
    redis.call('ZREM', KEYS[k], id)
    redis.call('HDEL', KEYS[4], id)
    forgotten = forgotten + 1
  end
end
if redis.call('HLEN', KEYS[4]) == 0 then redis.call('SREM', KEYS[1], ARGV[3]) end
return forgotten`)

// listRecords is called with the keys of a log's bodies, and of ids of it; the bound, and how many. It
// answers with so many of each of the ids.
var listRecords = redis.NewScript(`
local out = {}
for k = 2, #KEYS do
  for _, id in ipairs(redis.call('ZRANGE', KEYS[k], ARGV[1], '-', 'BYLEX', 'REV', 'LIMIT', 0, ARGV[2])) do
    out[#out+1] = id
    out[#out+1] = redis.call('HGET', KEYS[1], id)
  end
end
return out`)

// AddRecords is Records'.
func (r *Redis) AddRecords(ctx context.Context, keep int, records ...Record) (int, error) {
	if err := checkRecords(records); err != nil || len(records) == 0 {
		return 0, err
	}
	keys, place := []string{keyLogs}, map[string]int{}
	args := make([]any, 0, 2+5*len(records))
	args = append(args, max(1, keep), HeldRatio*max(1, keep))
	for i := range records {
		rec := &records[i]
		if place[rec.Log] == 0 {
			place[rec.Log] = len(keys) + 1 // as Lua counts
			keys = append(keys, logKeys(rec.Log)...)
		}
		args = append(args, place[rec.Log], rec.Log, rec.ID, rec.Body, rec.Held)
	}
	answer, err := r.run(ctx, addRecords, keys, args...)
	dropped, _ := answer.(int64)
	return int(dropped), err
}

// GetRecord is Records'.
func (r *Redis) GetRecord(ctx context.Context, log, id string) (Record, error) {
	body, err := ask(ctx, r, func(ctx context.Context) ([]byte, error) { return r.client.HGet(ctx, keyLogBody+log, id).Bytes() })
	if err != nil {
		return Record{}, err
	}
	return Record{Log: log, ID: id, Body: body}, nil
}

// ListRecords is Records'.
func (r *Redis) ListRecords(ctx context.Context, log, before string, limit int) ([]Record, error) {
	return r.listRecords(ctx, log, before, limit, keyLogIDs+log, keyLogHeld+log)
}

// ListHeld is Records'.
func (r *Redis) ListHeld(ctx context.Context, log, before string, limit int) ([]Record, error) {
	return r.listRecords(ctx, log, before, limit, keyLogHeld+log)
}

// listRecords lists those whose ids are under the keys.
func (r *Redis) listRecords(ctx context.Context, log, before string, limit int, ids ...string) ([]Record, error) {
	if limit < 1 {
		return nil, nil
	}
	from := "+"
	if before != "" {
		from = "(" + before
	}
	answer, err := r.run(ctx, listRecords, append([]string{keyLogBody + log}, ids...), from, limit)
	if err != nil {
		return nil, err
	}
	pairs, _ := answer.([]any)
	var list []Record
	for i := 0; i+1 < len(pairs); i += 2 {
		id, _ := pairs[i].(string)
		body, _ := pairs[i+1].(string)
		list = append(list, Record{Log: log, ID: id, Body: []byte(body)})
	}
	return lastOf(list, limit), nil
}

// Logs is Records'.
func (r *Redis) Logs(ctx context.Context) ([]string, error) {
	return ask(ctx, r, func(ctx context.Context) ([]string, error) { return r.client.SMembers(ctx, keyLogs).Result() })
}

// HeldLogs is Records'.
func (r *Redis) HeldLogs(ctx context.Context) (held []string, err error) {
	logs, err := r.Logs(ctx)
	if err != nil || len(logs) == 0 {
		return nil, err
	}
	counts, err := ask(ctx, r, func(ctx context.Context) ([]redis.Cmder, error) {
		return r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, log := range logs {
				p.ZCard(ctx, keyLogHeld+log)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	for i, log := range logs {
		if counts[i].(*redis.IntCmd).Val() > 0 {
			held = append(held, log)
		}
	}
	return held, nil
}

// ForgetRecords is Records'.
func (r *Redis) ForgetRecords(ctx context.Context, log, before string, limit int) (int, error) {
	if before == "" || limit < 1 {
		return 0, nil
	}
	n, err := outcome(r.run(ctx, forgetRecords, append([]string{keyLogs}, logKeys(log)...), "("+before, limit, log))
	if errors.Is(err, ErrConflict) { // none
		return 0, nil
	}
	return int(n), err
}
