package notify

import (
	"net/http"
	"path/filepath"
	"testing"

	"hookswitch/schema"
)

func TestWhatFailedIsCountedByProjectAndWhoIsDisabledListed(t *testing.T) {
	r := newReceiver(t)
	r.on("/gone", status(http.StatusGone))
	r.on("/bad", status(http.StatusBadRequest))
	once := func(w *schema.Webhook) { w.Retry = "none" }
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), nil, Options{}, webhook(1, r.URL+"/gone"), webhook(2, r.URL+"/bad", once))
	b.accept("a")
	eventually(t, "one is disabled, and one has given up", func() bool {
		got, err := b.Backlog("p")
		return err == nil && len(b.AllDisabled("")) == 1 && got.Failed == 1 && got.FailedBy["p"] == 1 && got.Waiting == 1
	})
	if d := b.AllDisabled("p")[0]; d.Project != "p" || d.Webhook != 1 || d.Reason != "it answered 410 Gone" || d.Since.IsZero() {
		t.Errorf("found %+v; want the one that is gone", d)
	}
	if list := b.AllDisabled("another"); len(list) != 0 {
		t.Errorf("found %v of another project; want none", list)
	}
	if got, err := b.Backlog("another"); err != nil || got.Failed != 0 || len(got.FailedBy) != 0 {
		t.Errorf("found %+v, %v of another project; want nothing", got, err)
	}
}
