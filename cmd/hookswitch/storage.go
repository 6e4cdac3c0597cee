package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"hookswitch/store"
)

// openStore opens what the file names under store; nil for none. A Redis that is down is no error, nor is a
// file that is damaged: calls are decided without them.
func (s *service) openStore(url string) (store.Store, error) {
	if url == "none" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	opened, err := store.Open(ctx, url)
	switch {
	case errors.Is(err, store.ErrDamaged):
		s.log.Error("serving by the configuration file alone: projects managed by the API are unknown, events are refused and nothing is kept", zap.Error(err))
		s.damaged = true
		return store.Damaged(err), nil
	case err != nil && strings.HasPrefix(url, "bolt:"):
		return nil, fmt.Errorf("store: %w; name a file under store that this user may write and no other process uses, or none", err)
	}
	return opened, err
}

// firstLook is how long the start waits for what is in the store; without it calls are decided by the
// file alone until it comes.
const firstLook = 2 * time.Second

func (s *service) awaitStore() {
	select {
	case <-s.control.Loaded():
	case <-time.After(firstLook):
		s.log.Warn("the store does not answer; serving by the configuration file alone until it does")
	}
}

// tell logs what is found wrong with the store's file while it is in use.
func (s *service) tell(ctx context.Context, alarms <-chan store.Alarm) {
	for {
		select {
		case a := <-alarms:
			s.log.Error("the store's file is not in order; calls are decided as before", zap.Error(a.Err), zap.String("where", a.Where))
		case <-ctx.Done():
			return
		}
	}
}
