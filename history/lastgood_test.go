package history

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

// learner is told answers.
type learner struct {
	mu   sync.Mutex
	told map[string]string
	any  int
}

func (l *learner) learn(project, hook, callee string, list []schema.Destination, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told == nil {
		l.told = map[string]string{}
	}
	var texts []string
	for _, d := range list {
		texts = append(texts, d.String())
	}
	l.any++
	name := project + "/" + hook + "/" + callee
	if answer := fmt.Sprintf("%d %s", at.UnixMilli(), strings.Join(texts, ",")); answer > l.told[name] { // the newer
		l.told[name] = answer
	}
}

func (l *learner) knows(name, answer string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told[name] == answer
}

func destinations(t testing.TB, texts ...string) (list []schema.Destination) {
	t.Helper()
	for _, text := range texts {
		d, err := schema.ParseDestination(text, "")
		must(t, err)
		list = append(list, d)
	}
	return list
}

func TestAGoodAnswerIsKnownToAllInstances(t *testing.T) {
	onEach(t, func(t *testing.T, s store.Store) {
		at := time.UnixMilli(1_700_000_000_000)
		one, two := open(t, s), open(t, s)
		var first, second, third learner
		one.Follow(first.learn)
		two.Follow(second.learn)
		one.Answered("1001", "crm", "380442223344", destinations(t, "380441111111"), at)
		one.Answered("1001", "crm", "380442223344", destinations(t, "380441111112", "sip/ops@pbx.example", "op7"), at.Add(time.Second))
		const name, want = "1001/crm/380442223344", "1700000001000 380441111112,sip/ops@pbx.example,op7"
		eventually(t, "the other instance has learnt it", func() bool { return second.knows(name, want) })

		// It goes both ways, and a third one that starts later, or a restart, learns all of it.
		two.Answered("1001", "crm", "380442223344", destinations(t, "380441111113"), at.Add(2*time.Second))
		const newer = "1700000002000 380441111113"
		eventually(t, "the first instance has learnt it", func() bool { return first.knows(name, newer) })
		open(t, s).Follow(third.learn)
		eventually(t, "a new instance has learnt it", func() bool { return third.knows(name, newer) })
	})
}

func TestManyAnswersAreToldInFewEntries(t *testing.T) {
	s := openBolt(t)
	h := open(t, s)
	for i := range 10 * entryAnswers {
		h.Answered("1001", "crm", fmt.Sprintf("3804422%05d", i/2), destinations(t, fmt.Sprintf("3804411%05d", i)), time.UnixMilli(int64(1_700_000_000_000+i)))
	}
	closeHistory(h)
	entries, err := s.Entries(t.Context(), lastGoodTrail, "", 1000)
	must(t, err)
	if len(entries) < 5 || len(entries) > 20 {
		t.Errorf("%d entries for %d answers about %d numbers", len(entries), 10*entryAnswers, 5*entryAnswers)
	}
	var l learner
	open(t, s).Follow(l.learn)
	eventually(t, "all are learnt", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.told) == 5*entryAnswers
	})
}

func TestATrailIsFollowedPageByPage(t *testing.T) {
	onEach(t, func(t *testing.T, s store.Store) {
		h := open(t, s)
		body := func(i int) []byte {
			return fmt.Appendf(nil, `{"by":"other","answers":[{"project":"p","hook":"h","callee":"%d","destinations":["380441111111"],"at":1}]}`, i)
		}
		for i := range 2*pageSize + 5 {
			must(t, s.Append(t.Context(), lastGoodTrail, body(i), keptEntries))
		}
		must(t, s.Append(t.Context(), lastGoodTrail, []byte(`not an entry`), keptEntries))
		must(t, s.Append(t.Context(), lastGoodTrail, []byte(`{"by":"other","answers":[{"project":"p","hook":"h","callee":"bad","destinations":["; rm"],"at":1}]}`), keptEntries))
		var l learner
		last, err := h.learnSince(t.Context(), "", l.learn)
		must(t, err)
		if l.any != 2*pageSize+5 {
			t.Errorf("learnt %d of %d", l.any, 2*pageSize+5)
		}
		if again, err := h.learnSince(t.Context(), last, l.learn); err != nil || again != last || l.any != 2*pageSize+5 {
			t.Errorf("learnt again what was known: %d, %v", l.any, err)
		}
		for i := range pageSize + 1 {
			must(t, s.Append(t.Context(), lastGoodTrail, body(1000+i), keptEntries))
		}
		if _, err := h.learnSince(t.Context(), last, l.learn); err != nil || l.any != 3*pageSize+6 {
			t.Errorf("learnt %d, %v; want the %d new ones", l.any, err, pageSize+1)
		}
	})
}

func FuzzLastGoodEntry(f *testing.F) {
	f.Add([]byte(`{"by":"other","answers":[{"project":"p","hook":"h","callee":"380442223344","destinations":["380441111111","sip:a@b.example:5070"],"at":1}]}`))
	f.Add([]byte(`{"by":"other","answers":[{"destinations":["300&Zap/g1/4165551212"]}]}`))
	h := &History{instance: "own"}
	f.Fuzz(func(t *testing.T, body []byte) {
		h.learnEntry(body, false, func(_, _, _ string, list []schema.Destination, _ time.Time) {
			if len(list) == 0 {
				t.Error("learnt an answer without destinations")
			}
			for _, d := range list {
				if again, err := schema.ParseDestination(d.String(), ""); err != nil || again != d {
					t.Errorf("learnt %q, which is no destination: %v", d, err)
				}
			}
		})
	})
}

func TestOwnEntriesAreNotLearntTwice(t *testing.T) {
	h := &History{instance: "own"}
	var l learner
	body := []byte(`{"by":"own","answers":[{"project":"p","hook":"h","callee":"1","destinations":["380441111111"],"at":1}]}`)
	h.learnEntry(body, false, l.learn)
	if l.any != 0 {
		t.Error("an instance learnt from itself")
	}
	h.learnEntry(body, true, l.learn)
	if l.any != 1 || !slices.Contains([]string{"1 380441111111"}, l.told["p/h/1"]) {
		t.Errorf("at the start: %v", l.told)
	}
}
