package main

import (
	"errors"
	"fmt"
	"strings"

	"hookswitch/hookclient"
	"hookswitch/schema"
)

// prepare makes ready what a project asks and sends to, as loading the project does, and lets go of it
// again: what can't be made ready is found out before anything depends on it. The error is
// schema.Faults, whose keys are paths from the project. Incoming links need no trying out: all that
// they are compiled from has been parsed by the schema's own check.
func prepare(client *hookclient.Client, p *schema.Project) error {
	var faults schema.Faults
	var pace schema.Pace // calls are decided meanwhile
	for i := range p.Hooks {
		pace.Breathe()
		if h, err := client.Prepare(p, &p.Hooks[i]); err != nil {
			faults = append(faults, faultAt(fmt.Sprintf("hooks[%d]", i), err))
		} else {
			h.Close()
		}
	}
	for i := range p.Webhooks {
		pace.Breathe()
		if w, err := client.PrepareWebhook(p, &p.Webhooks[i]); err != nil {
			faults = append(faults, faultAt(fmt.Sprintf("webhooks[%d]", i), err))
		} else {
			w.Close()
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// faultAt puts an error under its key of the element at path.
func faultAt(path string, err error) schema.Fault {
	var field *hookclient.FieldError
	if errors.As(err, &field) {
		path, err = path+"."+field.Key, field.Err
	}
	found, want, said := strings.Cut(err.Error(), "; want ")
	if !said {
		want = "what can be sent"
	}
	return schema.Fault{Key: path, Found: found, Want: want}
}
