package store

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestARedisURLSaysWhereAndAsWhom(t *testing.T) {
	for _, tc := range []struct{ url, want string }{
		{"redis://127.0.0.1:6380/2", "[127.0.0.1:6380] db 2 user  password  master  cluster false"},
		{"redis://redis.example", "[redis.example:6379] db 0 user  password  master  cluster false"},
		{"redis://[::1]/1", "[[::1]:6379] db 1 user  password  master  cluster false"},
		{"redis://[::1]:7000/", "[[::1]:7000] db 0 user  password  master  cluster false"},
		{"redis://:p%40ss%2F@h", "[h:6379] db 0 user  password p@ss/ master  cluster false"},
		{"redis://:p:a@s@h", "[h:6379] db 0 user  password p:a@s master  cluster false"},
		{"redis://:p/a@h", "[h:6379] db 0 user  password p/a master  cluster false"},
		{"rediss://u:p+q@h:1", "[h:1] db 0 user u password p+q master  cluster false"},
		{"redis+cluster://u:p@a:1,b,[::1]:3?tls=true", "[a:1 b:6379 [::1]:3] db 0 user u password p master  cluster true"},
		{"redis+cluster://a:1", "[a:1] db 0 user  password  master  cluster true"},
		{"redis+sentinel://u:p@a,b:2/main/3?sentinel_user=s&sentinel_password=x%26y", "[a:26379 b:2] db 3 user u password p master main s x&y cluster false"},
		{"redis+sentinel://a/main", "[a:26379] db 0 user  password  master main  cluster false"},
	} {
		o, err := ParseRedis(tc.url)
		if err != nil {
			t.Errorf("%s: %v", tc.url, err)
			continue
		}
		sentinel := strings.TrimRight(fmt.Sprint(o.MasterName, " ", o.SentinelUsername, " ", o.SentinelPassword), " ")
		got := fmt.Sprintf("%v db %d user %s password %s master %s cluster %v", o.Addrs, o.DB, o.Username, o.Password, sentinel, o.IsClusterMode)
		if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(tc.want), " ") {
			t.Errorf("%s: got %s; want %s", tc.url, got, tc.want)
		}
	}
}

func TestABadURLIsRefusedWithoutItsPassword(t *testing.T) {
	noCA := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(noCA, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"", "none", "bolt:", "bolt", "redis:", "redis://", "redis:///0", "http://h", "redis://h:x", "redis://h:0", "redis://h:70000", "redis://0[",
		"redis://:secret@h/x", "redis://:secret@h/-1", "redis://:secret@h/1/2", "redis://:secret%zz@h", "redis://:sec?ret@h", "redis://secret@h",
		"redis://:secret@a,b", "redis://:secret@h?secret=1", "redis://h?tls=secret", "redis://h?%zz", "redis+cluster://h/0", "redis+cluster://a,,b",
		"redis+sentinel://h", "redis+sentinel://h/main/x", "redis://h?replicas=0", "redis://h?replicas=10", "redis://h?replicas=x", "redis+cluster://h?replicas=1", "redis://h?sentinel_password=secret", "redis://h?ca=" + noCA, "rediss://h?ca=" + noCA,
		"rediss://h?ca=" + noCA + ".none"} {
		s, err := Open(t.Context(), url)
		if err == nil {
			s.Close()
			t.Errorf("%s is accepted", url)
		} else if text := err.Error(); strings.Contains(text, "secret") || !strings.HasPrefix(text, "store: ") {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

func FuzzARedisURLIsReadSafely(f *testing.F) {
	for _, url := range []string{"redis://u:p@h:1/2", "rediss://[::1]", "redis+cluster://a,b:2?tls=true", "redis+sentinel://:x@a/main/1?sentinel_user=u"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		if strings.Contains(url, "ca=") {
			return // reads a file
		}
		o, err := ParseRedis(url)
		if err != nil {
			if err.Error() != wantRedis {
				t.Fatalf("the error quotes something: %v", err)
			}
			return
		}
		if len(o.Addrs) == 0 || o.Username != "" && o.Password == "" {
			t.Fatalf("%q: got %+v", url, o)
		}
		for _, a := range o.Addrs {
			if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
				t.Fatalf("%q: got the address %q, %v", url, a, err)
			}
		}
	})
}
