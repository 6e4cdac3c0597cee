package console

import (
	"regexp"
	"slices"
	"strconv"
)

// The way of a call as a picture: what was called, the schemes entered and their hours, each hook asked and
// what came of it, what stood in, and what the PBX is told. It is read from the story's trail.

// walkNode is one stop on the way.
type walkNode struct {
	Kind, Icon, Key   string
	To                *flowLink
	Texts             []string
	Reason, Detail    string
	Strategy, Timeout string
}

// trailLine is a line of the trail, "    1.2 ms  following schema 100 \"Ask the CRM\"".
var trailLine = regexp.MustCompile(`^ *[0-9.]+ ms  (.*)`)

// trailSays are the lines that are stops, with an id and, of some, a name.
var trailSays = []struct {
	says *regexp.Regexp
	node walkNode
	to   string // the kind that the id is of
}{
	{regexp.MustCompile(`^following schema (.+) ("(?:[^"\\]|\\.)*")$`), walkNode{Kind: "schema", Icon: "schemas", Key: "walk.schema"}, "schemas"},
	{regexp.MustCompile(`^schema (.+) is closed at this hour$`), walkNode{Kind: "hours", Icon: "clock", Key: "walk.closed", Reason: "closed"}, "schemas"},
	{regexp.MustCompile(`^asking hook (.+)$`), walkNode{Kind: "hook", Icon: "hooks", Key: "walk.hook", Reason: "ok"}, "hooks"},
	{regexp.MustCompile(`^hook (.+) is passed over: `), walkNode{Kind: "hook", Icon: "hooks", Key: "walk.passed_over"}, "hooks"},
	{regexp.MustCompile(`^on_failure of hook (.+)$`), walkNode{Kind: "fallback", Icon: "schemas", Key: "walk.on_failure"}, "hooks"},
	{regexp.MustCompile(`^the last good answer of hook (.+) stands in$`), walkNode{Kind: "fallback", Icon: "hooks", Key: "walk.last_good"}, "hooks"},
}

// trailFails is how the trail tells why something failed.
var trailFails = regexp.MustCompile(`^([a-z_]+): (.*)`)

func (v *visit) walk(e *explanation, project string) []walkNode {
	d, base := &e.Decision, "/p/"+segment(project)+"/"
	nodes := []walkNode{{Kind: "start", Icon: "phone", Key: "walk.question", Texts: nonEmpty(d.Caller, d.Callee)}}
	if e.Story != nil {
		nodes = append(nodes, walked(e.Story.Trail, base)...)
	}
	for _, w := range d.Warnings {
		nodes = append(nodes, walkNode{Kind: "warning", Icon: "stop", Key: "walk.dropped", Detail: w})
	}
	if e.Story != nil {
		nodes = append(nodes, toldSteps(e.Story.Steps, d.Reason)...)
	}
	return nodes
}

// walked reads the trail's stops.
func walked(trail []string, base string) []walkNode {
	var nodes []walkNode
	for _, line := range trail {
		found := trailLine.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		says := found[1]
		if node, ok := stop(says, base); ok {
			nodes = append(nodes, node)
			continue
		}
		fails := trailFails.FindStringSubmatch(says)
		if fails == nil || !slices.Contains(reasonNames(), fails[1]) {
			continue
		}
		if last := len(nodes) - 1; last >= 0 && (nodes[last].Kind == "hook" && nodes[last].Reason == "ok" || nodes[last].Reason == fails[1]) {
			nodes[last].Reason, nodes[last].Detail = fails[1], fails[2]
			continue
		}
		nodes = append(nodes, walkNode{Kind: "warning", Icon: "stop", Key: "walk.failed", Reason: fails[1], Detail: fails[2]})
	}
	return nodes
}

// stop reads one stop; false where the line is none.
func stop(says, base string) (walkNode, bool) {
	for _, one := range trailSays {
		found := one.says.FindStringSubmatch(says)
		if found == nil {
			continue
		}
		node := one.node
		node.To = &flowLink{ID: found[1], Href: base + one.to + "/" + segment(found[1])}
		if len(found) > 2 {
			node.To.Name, _ = strconv.Unquote(found[2]) // it was written by %q
		}
		return node, true
	}
	return walkNode{}, false
}

// toldSteps are what the PBX is told to do.
func toldSteps(steps []object, reason string) []walkNode {
	var nodes []walkNode
	for _, step := range steps {
		for _, kind := range stepKinds {
			if step.At(kind) == nil {
				continue
			}
			node := walkNode{Kind: kind, Icon: stepIcons[kind], Key: "step." + kind, Texts: []string{step.Text(kind)}}
			if kind == "dial" {
				node.Texts, node.Strategy, node.Timeout = step.Strings("dial"), step.Text("strategy"), step.Text("timeout_s")+"s"
			}
			nodes = append(nodes, node)
		}
	}
	if len(nodes) == 0 {
		nodes = append(nodes, walkNode{Kind: "end", Icon: "stop", Key: "walk.nothing", Reason: reason})
	}
	return nodes
}

func nonEmpty(all ...string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}
