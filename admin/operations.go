package admin

import (
	"slices"
	"strings"
)

// operation is one thing that the API does.
type operation struct {
	Method string
	// Path is a pattern: {name} stands for one segment, which the handler gets by request.arg.
	Path string
	// Scope is what the token must allow: read, write or admin; "" opens it to anybody.
	Scope string
	// Project: it is about one project, which the token is bound to, or the Client header or the
	// parameter project names. The handler finds it in request.project.
	Project bool
	handle  func(*request) error
}

// The scopes. What is the installation's, and not one project's, wants scopeAdmin: tokens, backups,
// making and ending projects.
const (
	scopeRead  = "read"
	scopeWrite = "write"
	scopeAdmin = "admin"
)

// operations is the table of all that the API does, each file's in its turn.
func operations() []operation {
	return slices.Concat(
		projectOperations(),
		resourceOperations(),
		webhookOperations(),
		deliveryOperations(),
		liveOperations(),
		tokenOperations(),
		installationOperations(),
	)
}

// segment is a node of the tree of paths: a request's path is found in as many steps as it has
// segments.
type segment struct {
	fixed      map[string]*segment
	any        *segment // what {name} stands for
	operations map[string]*operation
	names      []string // of the path's {name}s, for a node with operations
}

func newPaths(all []operation) *segment {
	root := &segment{}
	for i := range all {
		op, at, names := &all[i], root, []string(nil)
		for part := range strings.SplitSeq(op.Path[1:], "/") {
			if name, ok := strings.CutPrefix(part, "{"); ok {
				names = append(names, strings.TrimSuffix(name, "}"))
				if at.any == nil {
					at.any = &segment{}
				}
				at = at.any
				continue
			}
			if at.fixed == nil {
				at.fixed = map[string]*segment{}
			}
			if at.fixed[part] == nil {
				at.fixed[part] = &segment{}
			}
			at = at.fixed[part]
		}
		if at.operations == nil {
			at.operations = map[string]*operation{}
		}
		at.operations[op.Method], at.names = op, names
	}
	return root
}

// find returns the node of a path and what its {name}s stand for; nil where there is none. A fixed
// segment goes before a {name}.
func (s *segment) find(path string) (*segment, map[string]string) {
	var values []string
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		next := s.fixed[part]
		if next == nil && s.any != nil && part != "" {
			next, values = s.any, append(values, part)
		}
		if next == nil {
			return nil, nil
		}
		s = next
	}
	if len(s.operations) == 0 {
		return nil, nil
	}
	args := make(map[string]string, len(values))
	for i, name := range s.names {
		args[name] = values[i]
	}
	return s, args
}

// allow lists a node's methods, for the header of that name (RFC 9110, 10.2.1).
func (s *segment) allow() string {
	methods := make([]string, 0, len(s.operations))
	for method := range s.operations {
		methods = append(methods, method)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}
