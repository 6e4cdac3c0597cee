package hooksim

import (
	"context"
	"fmt"
)

// Run serves a simulated webhook until ctx ends, and returns nil then. It tells log where it
// listens, and at the end what it did.
func Run(ctx context.Context, o Options, log func(string)) error {
	s, err := New(o)
	if err != nil {
		return err
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()

	log("simulated webhook listens on " + s.URL())
	if err := s.Serve(); err != nil {
		return err
	}
	st := s.Stats()
	log(fmt.Sprintf("simulated webhook ends: %d requests, %d failed, %d hung, %d probes", st.Requests, st.Failed, st.Hung, st.Probes))
	return nil
}
