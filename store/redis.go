package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// redisSchema is the version of the layout in Redis.
const redisSchema = 1

// The keys in Redis.
const (
	keyPrefix  = "hookswitch:1:"
	keyVersion = "hookswitch:schema" // of no schema itself: the version in use

	keyChange  = keyPrefix + "{docs}:change"  // the change number
	keyBodies  = keyPrefix + "{docs}:body:"   // kind: hash, id → version, space, body
	keyIDs     = keyPrefix + "{docs}:ids:"    // kind: sorted set of ids, all with score 0
	keyLatest  = keyPrefix + "{docs}:latest:" // kind: sorted set, id → number of its last change, deleted ones too
	keyGone    = keyPrefix + "{docs}:gone:"   // kind: sorted set, id of a deleted one → number of that change
	keyFloor   = keyPrefix + "{docs}:floor:"  // kind: number of the last deletion that is forgotten
	keyChanged = keyPrefix + "changed"        // the channel that says so

	keyTrail   = keyPrefix + "trail:" // name: stream
	keyValue   = keyPrefix + "value:" // key: string
	keyCounter = keyPrefix + "count:" // key: number
)

const (
	// pollEvery is how often Watch asks for the change number, in case a message was lost.
	pollEvery = 500 * time.Millisecond
	// patience bounds a call whose context has no deadline, or a later one; a Redis that syncs every
	// write may well take a second on a busy disk.
	patience = 3 * time.Second
)

// Redis is the store in a Redis, single, behind Sentinels, or a Cluster.
type Redis struct {
	client   redis.UniversalClient
	remember int         // deletions of a kind
	replicas int         // that must have what is enqueued
	checked  atomic.Bool // the schema version there is ours
	life     context.Context
	end      context.CancelFunc // of life; Close calls it
	watching sync.WaitGroup
}

func newRedis(o *RedisOptions) *Redis {
	logging.Disable() // go-redis writes to stderr; what is wrong is in our errors, too
	r := &Redis{client: redis.NewUniversalClient(&o.UniversalOptions), remember: maxGone, replicas: o.Replicas}
	r.life, r.end = context.WithCancel(context.Background())
	return r
}

// Ping asks the node that has the schema version, and checks that.
func (r *Redis) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := r.client.Get(ctx, keyVersion).Result()
	if errors.Is(err, redis.Nil) {
		found, err = strconv.Itoa(redisSchema), r.client.SetNX(ctx, keyVersion, redisSchema, 0).Err()
	}
	if err != nil {
		return unavailable(err)
	}
	if version, err := strconv.ParseUint(found, 10, 64); err != nil || version > redisSchema {
		return unavailable(errNewer(version, redisSchema))
	}
	r.checked.Store(true)
	return nil
}

// check lets nothing be read or written before the schema version has been seen to be ours; Open
// can't do that, as Redis may be down then.
func (r *Redis) check(ctx context.Context) error {
	if r.checked.Load() {
		return nil
	}
	return r.Ping(ctx)
}

// Close waits for every Watch to end.
func (r *Redis) Close() error {
	if r.life.Err() != nil {
		return nil
	}
	r.end()
	r.watching.Wait()
	return unavailable(r.client.Close())
}

// ask runs one command, for as long as patience lasts, and says ErrNotFound where Redis has nothing
// there.
func ask[T any](ctx context.Context, r *Redis, command func(context.Context) (T, error)) (T, error) {
	var none T
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.check(ctx); err != nil {
		return none, err
	}
	answer, err := command(ctx)
	switch {
	case errors.Is(err, redis.Nil):
		return none, ErrNotFound
	case err != nil:
		return none, unavailable(err)
	}
	return answer, nil
}

// run runs a script, which Redis does all at once and alone. Nothing is undone where a script fails
// half-way, so each first does what may fail on a full server.
func (r *Redis) run(ctx context.Context, s *redis.Script, keys []string, args ...any) (any, error) {
	return ask(ctx, r, func(ctx context.Context) (any, error) { return s.Run(ctx, r.client, keys, args...).Result() })
}

// replicaTime is how long replicas are waited for.
const replicaTime = time.Second

// replicated is run, which then waits for the replicas, where that is asked for: they have then what the
// script wrote, whatever becomes of the master. WAIT is of one connection, so both are one pipeline.
func (r *Redis) replicated(ctx context.Context, s *redis.Script, keys []string, args ...any) (any, error) {
	if r.replicas == 0 {
		return r.run(ctx, s, keys, args...)
	}
	return ask(ctx, r, func(ctx context.Context) (any, error) {
		answer, have, err := r.evalAndWait(ctx, s.EvalSha, keys, args)
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			answer, have, err = r.evalAndWait(ctx, s.Eval, keys, args)
		}
		if err == nil && have < int64(r.replicas) {
			err = fmt.Errorf("%d replicas have what was written; want %d within %s", have, r.replicas, replicaTime)
		}
		return answer, err
	})
}

func (r *Redis) evalAndWait(ctx context.Context, eval func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd, keys []string, args []any) (answer any, have int64, err error) {
	var script, wait *redis.Cmd
	_, err = r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		script, wait = eval(ctx, p, keys, args...), p.Do(ctx, "WAIT", r.replicas, replicaTime.Milliseconds())
		return nil
	})
	have, _ = wait.Val().(int64)
	return script.Val(), have, err
}

// outcome reads the answer of a script that found what it wanted (above 0), another version (0), or
// nothing (-1).
func outcome(answer any, err error) (uint64, error) {
	n, _ := answer.(int64)
	switch {
	case err != nil:
		return 0, err
	case n < 0:
		return 0, ErrNotFound
	case n == 0:
		return 0, ErrConflict
	}
	return uint64(n), nil
}

// docKeys are what changeDoc and changedDocs are called with: the keys of the change number, bodies,
// ids, last changes, deleted ids, and the floor.
func docKeys(kind string) []string {
	return []string{keyChange, keyBodies + kind, keyIDs + kind, keyLatest + kind, keyGone + kind, keyFloor + kind}
}

// changeDoc gets the id, the version expected, the channel, how many deletions to remember, and the
// body, or none to delete. A body with its version goes in as one
// string, as numbers in Lua are doubles, which are whole up to 2^53.
var changeDoc = redis.NewScript(`
local old = redis.call('HGET', KEYS[2], ARGV[1])
local version = old and string.match(old, '^%d+') or '0'
if version == '0' and (ARGV[2] ~= '0' or not ARGV[5]) then return -1 end
if version ~= ARGV[2] then return 0 end
local n = redis.call('INCR', KEYS[1])
redis.call('ZADD', KEYS[4], n, ARGV[1])
if ARGV[5] then
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f ', n) .. ARGV[5])
  redis.call('ZADD', KEYS[3], 0, ARGV[1])
  redis.call('ZREM', KEYS[5], ARGV[1])
else
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('ZADD', KEYS[5], n, ARGV[1])
  if redis.call('ZCARD', KEYS[5]) > tonumber(ARGV[4]) then
    local oldest = redis.call('ZPOPMIN', KEYS[5])
    redis.call('ZREM', KEYS[4], oldest[1])
    redis.call('SET', KEYS[6], oldest[2])
  end
end
redis.call('PUBLISH', ARGV[3], n)
return n`)

// changedDocs gets the change number since which, and how many. It answers with id, number and body,
// which is nothing for a deleted one, or with 0 where that is not known.
var changedDocs = redis.NewScript(`
local since = tonumber(ARGV[1])
local floor = tonumber(redis.call('GET', KEYS[6]) or '0')
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
if since < floor or since > last then return 0 end
local ids = redis.call('ZRANGE', KEYS[4], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
local out = {}
for i = 1, #ids, 2 do
  out[#out+1] = ids[i]
  out[#out+1] = string.format('%.0f', ids[i+1])
  out[#out+1] = redis.call('HGET', KEYS[2], ids[i])
end
return out`)

// listDocs is called with the keys of ids and bodies, the bounds of the ids, and how many.
var listDocs = redis.NewScript(`
local ids = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, ARGV[3])
local out = {}
for i, id in ipairs(ids) do
  out[2*i-1] = id
  out[2*i] = redis.call('HGET', KEYS[2], id)
end
return out`)

// GetDoc is Documents'.
func (r *Redis) GetDoc(ctx context.Context, kind, id string) (Doc, error) {
	text, err := ask(ctx, r, func(ctx context.Context) (string, error) { return r.client.HGet(ctx, keyBodies+kind, id).Result() })
	if err != nil {
		return Doc{}, err
	}
	return parseDoc(id, text)
}

func parseDoc(id, text string) (Doc, error) {
	version, body, _ := strings.Cut(text, " ")
	n, err := strconv.ParseUint(version, 10, 64)
	return Doc{ID: id, Version: n, Body: []byte(body)}, unavailable(err)
}

// PutDoc is Documents'.
func (r *Redis) PutDoc(ctx context.Context, kind, id string, body []byte, expected uint64) (uint64, error) {
	if err := checkNames(kind, id); err != nil {
		return 0, err
	}
	return outcome(r.run(ctx, changeDoc, docKeys(kind), id, expected, keyChanged, r.remember, body))
}

// DeleteDoc is Documents'.
func (r *Redis) DeleteDoc(ctx context.Context, kind, id string, expected uint64) error {
	_, err := outcome(r.run(ctx, changeDoc, docKeys(kind), id, expected, keyChanged, r.remember))
	return err
}

// ListDocs is Documents'.
func (r *Redis) ListDocs(ctx context.Context, kind, prefix, after string, limit int) ([]Doc, error) {
	from, to := "["+prefix, "+"
	if after >= prefix {
		from = "(" + after
	}
	if end := prefixEnd(prefix); end != "" {
		to = "(" + end
	}
	answer, err := r.run(ctx, listDocs, []string{keyIDs + kind, keyBodies + kind}, from, to, max(0, limit))
	if err != nil {
		return nil, err
	}
	pairs, _ := answer.([]any)
	var list []Doc
	for i := 0; i+1 < len(pairs); i += 2 {
		id, _ := pairs[i].(string)
		text, _ := pairs[i+1].(string)
		d, err := parseDoc(id, text)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// Changed is Documents'.
func (r *Redis) Changed(ctx context.Context, kind string, since uint64, limit int) ([]Doc, error) {
	answer, err := r.run(ctx, changedDocs, docKeys(kind), since, max(0, limit))
	if err != nil {
		return nil, err
	}
	triples, known := answer.([]any)
	if !known {
		return nil, ErrTooOld
	}
	var list []Doc
	for i := 0; i+2 < len(triples); i += 3 {
		id, _ := triples[i].(string)
		version, _ := triples[i+1].(string)
		text, there := triples[i+2].(string)
		d := Doc{ID: id, Deleted: !there}
		if there {
			d, err = parseDoc(id, text)
		} else {
			d.Version, err = strconv.ParseUint(version, 10, 64)
		}
		if err != nil {
			return nil, unavailable(err)
		}
		list = append(list, d)
	}
	return list, nil
}

// Change is Documents'.
func (r *Redis) Change(ctx context.Context) (uint64, error) { return r.number(ctx, keyChange) }

// number reads a number, 0 where there is none.
func (r *Redis) number(ctx context.Context, key string) (uint64, error) {
	n, err := ask(ctx, r, func(ctx context.Context) (uint64, error) { return r.client.Get(ctx, key).Uint64() })
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return n, err
}

// Watch is Documents'. It asks for the change number, at each message and now and then: a message may
// get lost, and a fail-over may take a change back.
func (r *Redis) Watch(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	part := context.AfterFunc(r.life, cancel)
	r.watching.Go(func() {
		defer close(ch)
		defer cancel()
		defer part()
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		r.watch(ctx, ch, tick.C)
	})
	return ch
}

func (r *Redis) watch(ctx context.Context, ch chan<- struct{}, tick <-chan time.Time) {
	subscription := r.client.Subscribe(ctx, keyChanged)
	defer subscription.Close()
	messages := subscription.Channel()
	var last uint64
	for first := true; ; {
		n, err := r.Change(ctx)
		if err == nil && (first || n != last) {
			first, last = false, n
			wake(ch)
		}
		select {
		case <-messages:
		case <-tick:
		case <-ctx.Done():
			return
		}
	}
}
