package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestABackupWhileServingIsRestoredWhenStopped(t *testing.T) {
	dir := t.TempDir()
	config := "store: bolt:" + dir + "/hookswitch.db\n" + `admin: {listen: 127.0.0.1:0, tokens: [{name: ops, token: ` + controlToken + `, scopes: [read, write]}]}
`
	s := start(t, config)
	s.mustManage("POST", "/projects", edition(1))
	backup := filepath.Join(dir, "backup")
	if out, fault, code := run(t, nil, "backup", "-c", s.Config, "--to", backup, "--admin", s.adminURL()); code != 0 || !strings.Contains(out, "bytes") {
		t.Fatalf("backup while serving: exit code %d, %s%s", code, out, fault)
	}
	s.mustManage("PUT", "/projects/managed", edition(2))
	if _, fault, code := run(t, nil, "restore", "-c", s.Config, "--from", backup); code == 0 || !strings.Contains(fault, "stop it first") {
		t.Errorf("restore while serving: exit code %d, %s; want it refused", code, fault)
	}
	if d, _ := s.route(call(managedNumber)); d.DstPhone != destinationOf(2) {
		t.Errorf("after the refusal: got %+v", d)
	}
	s.signal(syscall.SIGTERM)
	<-s.done

	later := filepath.Join(dir, "later")
	if out, fault, code := run(t, nil, "backup", "-c", s.Config, "--to", later); code != 0 {
		t.Fatalf("backup when stopped: exit code %d, %s%s", code, out, fault)
	}
	for _, tc := range []struct {
		from string
		want int
	}{{backup, 1}, {later, 2}} {
		if out, fault, code := run(t, nil, "restore", "-c", s.Config, "--from", tc.from); code != 0 {
			t.Fatalf("restore: exit code %d, %s%s", code, out, fault)
		}
		again := start(t, config)
		waitFor(t, 10*time.Second, "the restored project decides", func() bool {
			d, _ := again.route(call(managedNumber))
			return d.DstPhone == destinationOf(tc.want)
		})
		again.signal(syscall.SIGTERM)
		<-again.done
	}

	text, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, "half")
	if err := os.WriteFile(half, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, fault, code := run(t, nil, "restore", "-c", s.Config, "--from", half); code == 0 || !strings.Contains(fault, "checksum") {
		t.Errorf("half a backup: exit code %d, %s; want it refused", code, fault)
	}
	if left, _ := filepath.Glob(dir + "/*.part-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAStoreThatCantBeOpenedEndsTheStartAndSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	s := start(t, "store: bolt:"+dir+"/hookswitch.db\n")
	for _, tc := range []struct{ store, want string }{
		{"bolt:" + dir + "/hookswitch.db", "another process has it open; stop that one, or share a Redis"},
		{"bolt:/dev/null/hookswitch.db", "name a file under store that this user may write"},
	} {
		file := filepath.Join(dir, "other.yaml")
		if err := os.WriteFile(file, []byte("listen: 127.0.0.1:0\nstore: "+tc.store+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, fault, code := run(t, nil, "serve", "-c", file); code != 1 || !strings.Contains(fault, tc.want) {
			t.Errorf("%s: exit code %d, %s; want 1 and %q", tc.store, code, fault, tc.want)
		}
	}
	if d, status := s.route(call(managedNumber)); status != 404 {
		t.Errorf("the first service: got %d %+v", status, d)
	}
}
