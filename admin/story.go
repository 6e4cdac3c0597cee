package admin

import (
	"maps"
	"strconv"
	"strings"
	"sync"

	"hookswitch/schema"
)

// Story is all there is to tell of a decision: the question, the walk, each request and answer
// without secrets, and what the PBX was told.
type Story struct {
	Question map[string]string `json:"question"`
	// Control are the parameters that are about the lookup and not the call: hook, schema, cursor.
	Control  map[string]string `json:"control"`
	Trail    []string          `json:"trail"`
	Attempts []StoryAttempt    `json:"attempts"`
	Steps    []StoryStep       `json:"steps"`
	// BudgetMS is the time there was until the PBX had to have its answer.
	BudgetMS float64 `json:"budget_ms"`
}

// StoryAttempt is one request to a webhook, told in full.
type StoryAttempt struct {
	DecisionAttempt
	Error   string `json:"error"`
	Request string `json:"request"` // as sent, secrets removed
	Answer  string `json:"answer"`  // an excerpt of its body, quoted
}

// StoryStep is one step that the PBX was told to take: exactly one of Dial, Voicemail, Playback and
// Hangup is there.
type StoryStep struct {
	Dial      []string `json:"dial,omitempty"`
	Strategy  string   `json:"strategy,omitempty"`
	TimeoutS  float64  `json:"timeout_s,omitempty"`
	MOH       string   `json:"moh,omitempty"`
	Announce  string   `json:"announce,omitempty"`
	Voicemail string   `json:"voicemail,omitempty"`
	Playback  string   `json:"playback,omitempty"`
	Hangup    string   `json:"hangup,omitempty"`
}

// What a story may hold, so that a few hundred stay within some megabytes.
const (
	storyValues = 80
	storyValue  = 512
	storyLines  = 64
	storyText   = 6 << 10
)

// newStory copies the story out of a decision that was explained.
func newStory(call *schema.Call, d *schema.Decision, masked bool) *Story {
	shown := func(text string, most int) string {
		if masked {
			text = schema.MaskNumbers(text)
		}
		if len(text) > most {
			text = text[:most] + "…"
		}
		return strings.ToValidUTF8(strings.Clone(text), "")
	}
	s := &Story{Question: map[string]string{}, Control: controlOf(call), Trail: []string{}, Attempts: []StoryAttempt{}, Steps: []StoryStep{}}
	if !call.Deadline.IsZero() {
		s.BudgetMS = milliseconds(call.Deadline.Sub(call.At))
	}
	for p := schema.Param(0); p < schema.ParamCount; p++ {
		if v := call.Get(p); call.Said(p) && v != "" {
			s.Question[p.Name()] = shown(v, storyValue)
		}
	}
	for _, c := range call.Customs()[:min(len(call.Customs()), storyValues)] {
		s.Question[shown(c.Name, storyValue)] = shown(c.Value, storyValue)
	}
	for _, line := range d.Trail[:min(len(d.Trail), storyLines)] {
		s.Trail = append(s.Trail, shown(line, storyText))
	}
	for i := range d.Answer.Attempts[:min(len(d.Answer.Attempts), storyLines)] {
		at := &d.Answer.Attempts[i]
		s.Attempts = append(s.Attempts, StoryAttempt{
			DecisionAttempt: DecisionAttempt{
				URL: shown(at.URL, storyValue), BeganMS: milliseconds(at.Began), TookMS: milliseconds(at.Took),
				Status: at.Status, Reason: at.Reason.String(),
			},
			Error: shown(at.Error, storyText), Request: shown(at.Request, storyText), Answer: shown(at.Body, storyText),
		})
	}
	for i := range d.Steps {
		s.Steps = append(s.Steps, newStoryStep(&d.Steps[i], shown))
	}
	return s
}

// controlOf returns the control parameters that a lookup had; a cursor is bound to its call, and no use
// to others.
func controlOf(call *schema.Call) map[string]string {
	said := map[string]string{}
	for name, value := range map[string]string{"hook": call.Hook, "schema": call.Schema, "cursor": call.Cursor} {
		if value != "" {
			said[name] = strings.Clone(value)
		}
	}
	return said
}

// withBudget is the story with its budget among the control parameters.
func (s *Story) withBudget() *Story {
	told := *s
	told.Control = maps.Clone(s.Control)
	told.Control["budget_ms"] = strconv.Itoa(int(s.BudgetMS))
	return &told
}

func newStoryStep(from *schema.DecidedStep, shown func(string, int) string) StoryStep {
	text := func(s string) string { return shown(s, storyValue) }
	step := StoryStep{Voicemail: text(from.Voicemail), Playback: text(from.Playback), Hangup: text(from.Hangup)}
	if len(from.Dial) > 0 {
		step.Strategy, step.TimeoutS, step.MOH, step.Announce = string(from.Strategy), from.Timeout.Seconds(), text(from.MOH), text(from.Announce)
		for _, d := range from.Dial {
			step.Dial = append(step.Dial, text(d.String()))
		}
	}
	return step
}

// How many stories are kept, the latest: of those that went well, and of those that did not, which are
// looked for, and for longer.
const (
	keptStories  = 200
	keptFailures = 400
)

// stories are those of decisions that somebody watched.
type stories struct {
	mu   sync.Mutex // guards all below; a story is kept some forty times a second
	byID map[string]toldDecision
	good storyRing
	bad  storyRing
}

// toldDecision is a decision with its story: it is remembered for longer than others are.
type toldDecision struct {
	Decision
	story *Story
}

// storyRing is the ids of the stories that are kept, in their order.
type storyRing struct {
	ids  []string
	next int
}

func newStories() stories {
	return stories{byID: map[string]toldDecision{}, good: storyRing{ids: make([]string, keptStories)}, bad: storyRing{ids: make([]string, keptFailures)}}
}

func (s *stories) keep(d Decision, story *Story, failed bool) {
	id, ring := d.ID, &s.good
	if failed {
		ring = &s.bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.byID[id]; !known {
		delete(s.byID, ring.ids[ring.next])
		ring.ids[ring.next] = id
		ring.next = (ring.next + 1) % len(ring.ids)
	} else if len(story.Trail) == 0 {
		return // a lookup sent again has no story of its own
	}
	s.byID[id] = toldDecision{d, story}
}

func (s *stories) find(id string) (toldDecision, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	told, ok := s.byID[id]
	return told, ok
}

// others adds to list the decisions with a story that are not in it.
func (s *stories) others(list []Decision, f *DecisionFilter) []Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byID) == 0 {
		return list
	}
	there := make(map[string]bool, len(list))
	for i := range list {
		there[list[i].ID] = true
	}
	for id, told := range s.byID {
		if !there[id] && f.matches(&told.Decision) {
			list = append(list, told.Decision)
		}
	}
	return list
}
