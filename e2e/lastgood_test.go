package e2e

import (
	"testing"
	"time"
)

// An instance that starts while the store is down knows its managed projects only later. Answers are
// told once, so those of their hooks were lost to it.
func TestAGoodAnswerStandsInOnAnInstanceThatStartedWithoutTheStore(t *testing.T) {
	redis, hook := startRedis(t), startCRM(t)
	config := storeConfig("redis://127.0.0.1:" + redis.port + "/0")
	one := start(t, config)
	one.mustManage("POST", "/projects", map[string]any{
		"id": "managed", "default_schema": "1", "allow_private_hooks": true,
		"numbers": []any{map[string]any{"number": managedNumber, "schema": "ask"}},
		"schemas": []any{
			map[string]any{"id": "1", "steps": []any{map[string]any{"hangup": "busy"}}},
			map[string]any{"id": "ask", "steps": []any{map[string]any{"hook": "crm"}}},
		},
		"hooks": []any{map[string]any{"id": "crm", "url": hook.URL, "last_good": "10m"}},
	})
	good, _ := one.route(call(managedNumber))
	if good.Source != "hook" || good.DstPhone == "" {
		t.Fatalf("got %+v", good)
	}
	waitFor(t, 10*time.Second, "the answer is told", func() bool {
		return one.metric(`hookswitch_history_writes_total{result="ok",what="last_good"}`) >= 1
	})
	redis.kill()
	hook.fail()
	two := start(t, config)
	if d, status := two.route(call(managedNumber)); status != 404 {
		t.Fatalf("without the store: got %+v; want the project unknown yet", d)
	}
	redis.start(t)
	waitFor(t, 60*time.Second, "the answer stands in", func() bool {
		d, _ := two.route(call(managedNumber))
		return d.Source == "last_good" && d.DstPhone == good.DstPhone
	})
}
