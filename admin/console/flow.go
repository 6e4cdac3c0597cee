package console

import "strconv"

// flow is a scheme as a drawing: the steps from top to bottom, the hours before them, and where a call
// goes when the hours, a hook or everything fails.
type flow struct {
	Hours  *flowHours
	Steps  []flowStep
	Last   flowLink // the default scheme
	Locked bool
}

type flowHours struct {
	Open, Holidays []string
	TZ             string
	Closed         flowLink
}

type flowStep struct {
	N                 int
	Kind, Icon        string
	Texts             []string // destinations, a box, a file, a cause
	To                *flowLink
	Strategy, Timeout string
	OnFailure         *flowLink
}

// flowLink leads to another scheme or hook.
type flowLink struct{ ID, Name, Href string }

var stepIcons = map[string]string{
	"dial": "phone", "hook": "hooks", "schema": "schemas", "voicemail": "sound", "playback": "sound", "hangup": "stop",
}

// flow draws a scheme; nil for any other kind, and for one that has no steps yet.
func (v *visit) flow(k kind, o object, settings projectSettings, how editing) (*flow, error) {
	if k.Name != "schemas" || how.isNew || len(o.List("steps")) == 0 {
		return nil, nil
	}
	base := "/p/" + segment(settings.ID) + "/"
	scheme := func(id string) flowLink { return flowLink{ID: id, Href: base + "schemas/" + segment(id)} }
	f := &flow{}
	if id := settings.DefaultSchema; id != "" {
		f.Last = scheme(id)
	}
	if _, ok := o.At("hours").(map[string]any); ok {
		closed := f.Last
		if id := o.Text("hours.closed_schema"); id != "" {
			closed = scheme(id)
		}
		f.Hours = &flowHours{Open: o.Strings("hours.open"), Holidays: o.Strings("hours.holidays"), TZ: o.Text("hours.tz"), Closed: closed}
	}
	for i, step := range o.List("steps") {
		f.Steps = append(f.Steps, v.flowStep(i+1, step, base, settings.ID, scheme))
	}
	return f, nil
}

func (v *visit) flowStep(n int, step object, base, project string, scheme func(string) flowLink) flowStep {
	one := flowStep{N: n, Strategy: step.Text("strategy"), Timeout: step.Text("timeout")}
	for _, kind := range stepKinds {
		if step.At(kind) != nil {
			one.Kind = kind
		}
	}
	one.Icon = stepIcons[one.Kind]
	switch one.Kind {
	case "":
		one.Icon = "stop"
	case "dial":
		one.Texts = step.Strings("dial")
	case "hook":
		id := step.Text("hook")
		one.To = &flowLink{ID: id, Href: base + "hooks/" + segment(id)}
		var hook object
		if err := v.get(project, "/hooks/"+segment(id), nil, &hook); err == nil {
			one.To.Name, one.Timeout = hook.Text("name"), hook.Text("request_timeout")
			if to := hook.Text("on_failure"); to != "" {
				link := scheme(to)
				one.OnFailure = &link
			}
		}
	case "schema":
		link := scheme(step.Text("schema"))
		one.To = &link
	default:
		one.Texts = []string{step.Text(one.Kind)}
	}
	if len(one.Texts) < 2 {
		one.Strategy = ""
	}
	return one
}

// ID of the step's drawing within a page.
func (s flowStep) ID() string { return "step-" + strconv.Itoa(s.N) }
