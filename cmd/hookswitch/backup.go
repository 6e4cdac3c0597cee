package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
	"hookswitch/store"
)

type backupCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration file."`
	To     string `required:"" placeholder:"FILE" help:"Where the backup goes; what is there is replaced once the backup is whole."`
	Admin  string `placeholder:"URL" help:"The admin API to ask, where it is not at the file's admin.listen over http."`
}

// Run writes a backup of the store as it is at one moment. While a service has the file open, that one
// is asked for it, by its admin API.
func (c *backupCommand) Run(ctx context.Context, out io.Writer) error {
	cfg, err := loadFile(c.Config)
	if err != nil {
		return err
	}
	path, err := fileOf(cfg)
	if err != nil {
		return err
	}
	size, err := whole(c.To, func(w io.Writer) error {
		if c.Admin == "" {
			if served, err := backupFile(ctx, path, w); !served {
				return err
			}
		}
		return c.ask(cfg, w)
	})
	if err != nil {
		return fmt.Errorf("back up %s: %w", path, err)
	}
	fmt.Fprintf(out, "%s: %d bytes\n", c.To, size)
	return nil
}

// fileOf returns the path of the store's file.
func fileOf(cfg *schema.Config) (string, error) {
	path, ok := strings.CutPrefix(cfg.Store, "bolt:")
	if !ok {
		return "", errors.New("the store is no file of ours (store: bolt:PATH): a Redis is backed up and restored by its own means, BGSAVE for example")
	}
	return path, nil
}

// backupFile backs up a file that nobody has open; served says that somebody has.
func backupFile(ctx context.Context, path string, w io.Writer) (served bool, err error) {
	if _, err := os.Stat(path); err != nil {
		return false, err // OpenBolt would make it
	}
	b, err := store.OpenBolt(ctx, path)
	if err != nil {
		return errors.Is(err, store.ErrInUse), err
	}
	return false, errors.Join(b.Backup(ctx, w), b.Close())
}

// ask has the running service write the backup.
func (c *backupCommand) ask(cfg *schema.Config, w io.Writer) error {
	url, token := strings.TrimSuffix(c.Admin, "/"), ""
	if url == "" {
		url = "http://" + cfg.Admin.Listen
	}
	for _, t := range cfg.Admin.Tokens {
		if t.Project == "" && slices.Contains(t.Scopes, "write") {
			token = t.Token.Reveal()
		}
	}
	if token == "" {
		return errors.New("a service has the file open and is asked by its admin API, for which admin.tokens needs a token with the scope write and no project")
	}
	client := &fasthttp.Client{StreamResponseBody: true, ReadTimeout: time.Minute, Dial: func(address string) (net.Conn, error) {
		return net.DialTimeout("tcp", address, 5*time.Second)
	}}
	q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(q)
	defer fasthttp.ReleaseResponse(a)
	q.SetRequestURI(url + "/api/v1/backup")
	q.Header.Set("Authorization", "Bearer "+token)
	if err := client.Do(q, a); err != nil {
		return fmt.Errorf("%s: %w; is the service's admin API at that address?", url, err)
	}
	if status := a.StatusCode(); status != fasthttp.StatusOK {
		return fmt.Errorf("%s: status %d: %.200s", url, status, a.Body())
	}
	_, err := io.Copy(w, a.BodyStream())
	return err
}

// whole writes a file that is there in full, and flushed, or not at all, and returns its size.
func whole(path string, write func(io.Writer) error) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) // nothing once it has been renamed
	err = write(f)
	if err == nil {
		size, err = f.Seek(0, io.SeekCurrent)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(f.Name(), path)
}

type restoreCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration file."`
	From   string `required:"" placeholder:"FILE" help:"A backup."`
}

// Run replaces the store's file, all or nothing; never that of a service that runs.
func (c *restoreCommand) Run(ctx context.Context, out io.Writer) error {
	cfg, err := loadFile(c.Config)
	if err != nil {
		return err
	}
	path, err := fileOf(cfg)
	if err != nil {
		return err
	}
	f, err := os.Open(c.From)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := store.Restore(ctx, path, f); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: restored from %s\n", path, c.From)
	return nil
}
