package store

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// The keys of the records. All share one hash tag, so that those of many logs are added at once.
const (
	keyLogs    = keyPrefix + "{records}:logs"    // set of the logs' names
	keyLogIDs  = keyPrefix + "{records}:ids:"    // log: sorted set of ids, all with score 0
	keyLogBody = keyPrefix + "{records}:bodies:" // log: hash, id → body
)

// addRecords is called with the key of the logs, and of each log its ids and bodies; how many to keep;
// then for each record the number of its log's ids, the log, id and body.
var addRecords = redis.NewScript(`
for i = 2, #ARGV, 4 do
  local ids, bodies, log, id = KEYS[tonumber(ARGV[i])], KEYS[tonumber(ARGV[i])+1], ARGV[i+1], ARGV[i+2]
  local old = redis.call('HGET', bodies, id)
  redis.call('HSET', bodies, id, (old or '') .. ARGV[i+3])
  if not old then
    redis.call('ZADD', ids, 0, id)
    redis.call('SADD', KEYS[1], log)
    local over = redis.call('ZCARD', ids) - tonumber(ARGV[1])
    if over > 0 then
      for _, first in ipairs(redis.call('ZRANGE', ids, 0, over - 1)) do
        redis.call('ZREM', ids, first)
        redis.call('HDEL', bodies, first)
      end
    end
  end
end
return 1`)

// forgetRecords is called with the keys of the logs, the log's ids and bodies; the bound, how many, and
// the log.
var forgetRecords = redis.NewScript(onFullServersToo + `
local gone = redis.call('ZRANGE', KEYS[2], '-', ARGV[1], 'BYLEX', 'LIMIT', 0, ARGV[2])
for _, id in ipairs(gone) do
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
end
if redis.call('ZCARD', KEYS[2]) == 0 then redis.call('SREM', KEYS[1], ARGV[3]) end
return #gone`)

// listRecords is called with the keys of a log's ids and bodies, the bound, and how many.
var listRecords = redis.NewScript(`
local ids = redis.call('ZRANGE', KEYS[1], ARGV[1], '-', 'BYLEX', 'REV', 'LIMIT', 0, ARGV[2])
local out = {}
for i, id in ipairs(ids) do
  out[2*i-1] = id
  out[2*i] = redis.call('HGET', KEYS[2], id)
end
return out`)

// AddRecords is Records'.
func (r *Redis) AddRecords(ctx context.Context, keep int, records ...Record) error {
	if err := checkRecords(records); err != nil || len(records) == 0 {
		return err
	}
	keys, place := []string{keyLogs}, map[string]int{}
	args := make([]any, 0, 1+4*len(records))
	args = append(args, max(1, keep))
	for i := range records {
		rec := &records[i]
		if place[rec.Log] == 0 {
			place[rec.Log] = len(keys) + 1 // as Lua counts
			keys = append(keys, keyLogIDs+rec.Log, keyLogBody+rec.Log)
		}
		args = append(args, place[rec.Log], rec.Log, rec.ID, rec.Body)
	}
	_, err := r.run(ctx, addRecords, keys, args...)
	return err
}

// GetRecord is Records'.
func (r *Redis) GetRecord(ctx context.Context, log, id string) (Record, error) {
	body, err := ask(ctx, r, func(ctx context.Context) ([]byte, error) { return r.client.HGet(ctx, keyLogBody+log, id).Bytes() })
	if err != nil {
		return Record{}, err
	}
	return Record{log, id, body}, nil
}

// ListRecords is Records'.
func (r *Redis) ListRecords(ctx context.Context, log, before string, limit int) ([]Record, error) {
	if limit < 1 {
		return nil, nil
	}
	from := "+"
	if before != "" {
		from = "(" + before
	}
	answer, err := r.run(ctx, listRecords, []string{keyLogIDs + log, keyLogBody + log}, from, limit)
	if err != nil {
		return nil, err
	}
	pairs, _ := answer.([]any)
	var list []Record
	for i := 0; i+1 < len(pairs); i += 2 {
		id, _ := pairs[i].(string)
		body, _ := pairs[i+1].(string)
		list = append(list, Record{log, id, []byte(body)})
	}
	return list, nil
}

// Logs is Records'.
func (r *Redis) Logs(ctx context.Context) ([]string, error) {
	return ask(ctx, r, func(ctx context.Context) ([]string, error) { return r.client.SMembers(ctx, keyLogs).Result() })
}

// ForgetRecords is Records'.
func (r *Redis) ForgetRecords(ctx context.Context, log, before string, limit int) (int, error) {
	if before == "" || limit < 1 {
		return 0, nil
	}
	n, err := outcome(r.run(ctx, forgetRecords, []string{keyLogs, keyLogIDs + log, keyLogBody + log}, "("+before, limit, log))
	if errors.Is(err, ErrConflict) { // none
		return 0, nil
	}
	return int(n), err
}
