package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const wantRedis = `store: want bolt:PATH, redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS, ` +
	`redis+cluster://HOST:PORT,HOST:PORT or redis+sentinel://HOST:PORT,HOST:PORT/MASTER[/DB], the last two with ?tls=true for TLS, ` +
	`all with ?ca=FILE for a CA of your own, all but a cluster with ?replicas=1 (to 9); special characters in a password as %XX`

// RedisOptions are what a Redis' URL says.
type RedisOptions struct {
	redis.UniversalOptions
	// Replicas is how many must have what is enqueued before that is acknowledged.
	Replicas int
}

// ParseRedis reads the URL of a Redis: redis://, rediss:// (TLS), redis+cluster:// or
// redis+sentinel://. A user may be empty: redis://:PASSWORD@HOST. The query may have tls=true, ca=FILE
// (a PEM file; implies nothing else), replicas=N but for a Cluster, and for Sentinels with a password of their own sentinel_user and
// sentinel_password. net/url is not asked: it takes no list of hosts, and its errors quote passwords.
// For the same reason an error here says what is wanted, and never what was found.
func ParseRedis(text string) (*RedisOptions, error) {
	kind, rest, _ := strings.Cut(text, "://")
	rest, query, _ := strings.Cut(rest, "?")
	login := ""
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		login, rest = rest[:i], rest[i+1:]
	}
	hosts, path, _ := strings.Cut(rest, "/")

	o := &RedisOptions{}
	q, err := url.ParseQuery(query)
	if err != nil || !parseLogin(&o.UniversalOptions, login) || !parsePath(&o.UniversalOptions, kind, path) || !parseHosts(&o.UniversalOptions, kind, hosts) {
		return nil, errors.New(wantRedis)
	}
	secured, ca := kind == "rediss", ""
	for key, values := range q {
		value := values[len(values)-1]
		switch {
		case key == "tls" && value == "true":
			secured = true
		case key == "ca" && value != "":
			ca = value
		case key == "replicas" && kind != "redis+cluster" && len(value) == 1 && value >= "1" && value <= "9":
			o.Replicas = int(value[0] - '0')
		case key == "sentinel_user" && kind == "redis+sentinel":
			o.SentinelUsername = value
		case key == "sentinel_password" && kind == "redis+sentinel":
			o.SentinelPassword = value
		default:
			return nil, errors.New(wantRedis)
		}
	}
	if !secured && ca != "" {
		return nil, errors.New("store: found ca= without TLS; want rediss:// or tls=true with it")
	}
	if o.Dialer, err = dialer(secured, ca); err != nil {
		return nil, err
	}
	setTimeouts(&o.UniversalOptions)
	return o, nil
}

func parseLogin(o *redis.UniversalOptions, login string) bool {
	user, password, _ := strings.Cut(login, ":")
	var err1, err2 error
	o.Username, err1 = url.PathUnescape(user)
	o.Password, err2 = url.PathUnescape(password)
	return errors.Join(err1, err2) == nil && (login == "" || password != "")
}

func parsePath(o *redis.UniversalOptions, kind, path string) bool {
	db := path
	switch kind {
	case "redis", "rediss":
	case "redis+cluster":
		o.IsClusterMode = true
		return path == ""
	case "redis+sentinel":
		if o.MasterName, db, _ = strings.Cut(path, "/"); o.MasterName == "" {
			return false
		}
	default:
		return false
	}
	if db == "" {
		return true
	}
	n, err := strconv.ParseUint(db, 10, 16)
	o.DB = int(n)
	return err == nil
}

func parseHosts(o *redis.UniversalOptions, kind, hosts string) bool {
	port := "6379"
	if kind == "redis+sentinel" {
		port = "26379"
	}
	for host := range strings.SplitSeq(hosts, ",") {
		name, p, err := net.SplitHostPort(host)
		if err != nil {
			name, p = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), port
		}
		if n, err := strconv.ParseUint(p, 10, 16); name == "" || err != nil || n == 0 {
			return false
		}
		addr := net.JoinHostPort(name, p)
		if _, _, err := net.SplitHostPort(addr); err != nil { // brackets of its own
			return false
		}
		o.Addrs = append(o.Addrs, addr)
	}
	return len(o.Addrs) == 1 || kind == "redis+cluster" || kind == "redis+sentinel"
}

// dialer returns what connects within its context, TLS handshake included, which go-redis' own does not.
func dialer(secured bool, ca string) (func(context.Context, string, string) (net.Conn, error), error) {
	plain := &net.Dialer{}
	if !secured {
		return plain.DialContext, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("store: the CA of redis: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("store: the CA of redis: %s holds no PEM certificate", ca)
		}
	}
	return (&tls.Dialer{NetDialer: plain, Config: conf}).DialContext, nil
}

// setTimeouts makes every command end with its context, and soon: retrying is the callers' business,
// who know what else could be done with the time.
func setTimeouts(o *redis.UniversalOptions) {
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout = time.Second
	o.ReadTimeout = patience
	o.WriteTimeout = patience
	o.PoolTimeout = patience
	o.MinIdleConns = 2
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
