package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

func three(t *testing.T, url string) [3]*instance {
	t.Helper()
	return [3]*instance{serve(t, url, fileProject), serve(t, url, fileProject), serve(t, url, fileProject)}
}

func TestAChangeThroughOneInstanceReachesAll(t *testing.T) {
	all := three(t, startRedis(t).url())
	_, err := all[0].Create(t.Context(), "ops", project("a", "380440000001"))
	must(t, err)
	for i, in := range all {
		eventually(t, fmt.Sprint("instance ", i, " has it"), func() bool { return in.shows() == "file 380440000009; a 380440000001" })
	}
	// A change of what another made, by one that may not have heard of it yet.
	_, err = all[1].Create(t.Context(), "ops", project("b"))
	must(t, err)
	version, err := all[2].Update(t.Context(), "ops", "b", 0, number("380440000002"))
	must(t, err)
	for i, in := range all {
		eventually(t, fmt.Sprint("instance ", i, " has it"), func() bool {
			return in.shows() == "file 380440000009; a 380440000001; b 380440000002" && in.Current().Projects[2].Version == version
		})
	}
	must(t, all[0].Delete(t.Context(), "ops", "b", 0))
	for i, in := range all {
		eventually(t, fmt.Sprint("instance ", i, " has none"), func() bool { return in.shows() == "file 380440000009; a 380440000001" })
	}
}

func TestUpdatesOfOneProjectThroughAllInstancesAllCount(t *testing.T) {
	const each = 30
	all := three(t, startRedis(t).url())
	_, err := all[0].Create(t.Context(), "ops", project("a"))
	must(t, err)
	var wg sync.WaitGroup
	var done atomic.Int64
	for i, in := range all {
		wg.Go(func() {
			for n := 0; n < each; {
				_, err := in.Update(t.Context(), "ops", "a", 0, func(p *schema.Project) error {
					p.Numbers = append(p.Numbers, schema.Number{Number: fmt.Sprintf("38044%d%06d", i+1, n), Schema: "1"})
					return nil
				})
				switch {
				case err == nil:
					n++
					done.Add(1)
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for i, in := range all {
		eventually(t, fmt.Sprint("instance ", i, " has every number"), func() bool {
			c := in.Current()
			return len(c.Projects) == 2 && len(c.Projects[1].Numbers) == int(done.Load())
		})
	}
}

func TestANumberTakenThroughTwoInstancesAtOnceIsTheSameProjectsEverywhere(t *testing.T) {
	all := three(t, startRedis(t).url())
	// The documents as two instances write them that do not see each other's yet.
	for i, id := range []string{"b", "a"} {
		p := project(id, "380440000001", "38044000001"+fmt.Sprint(i))
		must(t, schema.CheckProject(p, &schema.Config{}))
		text, err := schema.EncodeResource(p, true)
		must(t, err)
		_, err = all[i].store.PutDoc(t.Context(), kind, id, text, 0)
		must(t, err)
	}
	want := "file 380440000009; a 380440000001 380440000011; b 380440000010"
	for i, in := range all {
		eventually(t, fmt.Sprint("instance ", i, " gives it to a"), func() bool { return in.shows() == want })
		if in.gauge("control_refused") != 1 || in.log.FilterMessageSnippet("left out").Len() == 0 {
			t.Errorf("instance %d tells nobody of the number left out", i)
		}
	}
	must(t, all[2].Delete(t.Context(), "ops", "a", 0))
	for i, in := range all {
		eventually(t, fmt.Sprint("instance ", i, " gives it to b"), func() bool {
			return in.shows() == "file 380440000009; b 380440000001 380440000010" && in.gauge("control_refused") == 0
		})
	}
}

func TestARedisThatIsGoneLeavesTheConfigurationAndComesBack(t *testing.T) {
	for _, tc := range []struct {
		name        string
		stop, again func(*testing.T, *redisServer)
	}{
		{"killed", func(_ *testing.T, s *redisServer) { s.kill() }, func(t *testing.T, s *redisServer) { s.start(t) }},
		{"hung", func(t *testing.T, s *redisServer) { s.signal(t, syscall.SIGSTOP) }, func(t *testing.T, s *redisServer) { s.signal(t, syscall.SIGCONT) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := startRedis(t)
			all := three(t, server.url())
			_, err := all[0].Create(t.Context(), "ops", project("a", "380440000001"))
			must(t, err)
			for i, in := range all {
				eventually(t, fmt.Sprint("instance ", i, " has it"), func() bool { return in.shows() == "file 380440000009; a 380440000001" })
			}
			tc.stop(t, server)
			for i, in := range all {
				_, err := in.Update(t.Context(), "ops", "a", 0, number("380440000002"))
				wantErr(t, "a change", err, store.ErrUnavailable)
				eventually(t, fmt.Sprint("instance ", i, " says that the store is down"), func() bool { return in.gauge("store_up") == 0 })
				if got := in.shows(); got != "file 380440000009; a 380440000001" {
					t.Errorf("instance %d: got %s", i, got)
				}
			}
			must(t, all[1].SetFile(configOf(t, strings.Replace(fileProject, "380440000009", "380440000008", 1))))
			if got := all[1].shows(); got != "file 380440000008; a 380440000001" {
				t.Errorf("a file read meanwhile: got %s", got)
			}
			tc.again(t, server)
			eventually(t, "a change is taken again", func() bool {
				_, err := all[2].Update(t.Context(), "ops", "a", 0, number("380440000003"))
				return err == nil
			})
			for i, in := range all {
				eventually(t, fmt.Sprint("instance ", i, " has it"), func() bool {
					return strings.HasSuffix(in.shows(), "; a 380440000003") && in.gauge("store_up") == 1
				})
			}
		})
	}
}

func TestARedisThatIsDownAtTheStartIsReadOnceItIsUp(t *testing.T) {
	server := startRedis(t)
	in := serve(t, server.url(), fileProject)
	_, err := in.Create(t.Context(), "ops", project("a"))
	must(t, err)
	in.stop()
	server.kill()
	in = serve(t, server.url(), fileProject)
	if got := in.shows(); got != "file 380440000009" {
		t.Errorf("got %s", got)
	}
	server.start(t)
	eventually(t, "the project is in use", func() bool { return in.shows() == "file 380440000009; a" })
}

// Whatever three instances do at the same time, in the end all have what the store has.
func TestInstancesConvergeAfterARandomWalk(t *testing.T) {
	all := three(t, startRedis(t).url())
	var wg sync.WaitGroup
	for i, in := range all {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 9))
			for range 80 {
				id := fmt.Sprint("p", r.IntN(5))
				n := fmt.Sprintf("38044000%04d", r.IntN(20))
				var err error
				switch r.IntN(4) {
				case 0:
					_, err = in.Create(t.Context(), "ops", project(id, n))
				case 1:
					err = in.Delete(t.Context(), "ops", id, 0)
				default:
					_, err = in.Update(t.Context(), "ops", id, 0, number(n))
				}
				if faults := (schema.Faults)(nil); err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) && !errors.As(err, &faults) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	in := serve(t, all[0].from, fileProject) // one that reads all of it at once
	last, err := all[0].store.Change(t.Context())
	must(t, err)
	for i, other := range append(all[:], in) {
		eventually(t, fmt.Sprint("instance ", i, " has what a new one has"), func() bool {
			return other.shows() == in.shows() && in.gauge("control_version") == float64(last) && other.gauge("control_version") == float64(last)
		})
	}
}

func TestAChangeDoesNotOutlastItsContext(t *testing.T) {
	server := startRedis(t)
	in := serve(t, server.url(), fileProject)
	_, err := in.Create(t.Context(), "ops", project("a"))
	must(t, err)
	server.signal(t, syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = in.Update(ctx, "ops", "a", 0, number("380440000002"))
	wantErr(t, "a change of what is known", err, store.ErrUnavailable)
	_, err = in.Update(ctx, "ops", "b", 0, number("380440000002"))
	wantErr(t, "a change of what is not known", err, store.ErrUnavailable)
}
