package admin

import (
	"strings"
	"sync"

	"hookswitch/schema"
)

// Story is all there is to tell of a decision: the question, the walk, each request and answer
// without secrets, and what the PBX was told.
type Story struct {
	Question map[string]string `json:"question"`
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
	s := &Story{Question: map[string]string{}, Trail: []string{}, Attempts: []StoryAttempt{}, Steps: []StoryStep{}}
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

// keptStories is how many are kept, the latest.
const keptStories = 200

// stories are those of the decisions that were explained because somebody watched.
type stories struct {
	mu    sync.Mutex // guards all below; a story is kept some twenty times a second
	byID  map[string]*Story
	order [keptStories]string
	next  int
}

func (s *stories) keep(story *Story, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[id] == nil {
		delete(s.byID, s.order[s.next])
		s.order[s.next] = id
		s.next = (s.next + 1) % keptStories
	} else if len(story.Trail) == 0 {
		return // a lookup sent again has no story of its own
	}
	s.byID[id] = story
}

func (s *stories) find(id string) *Story {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}
