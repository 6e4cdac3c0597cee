package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

// installationOperations are about the installation as a whole.
func installationOperations() []operation {
	return []operation{
		{"GET", "/api/v1/audit", scopeRead, false, getAudit},
		{"GET", "/api/v1/backup", scopeAdmin, false, getBackup},
	}
}

// getAudit lists the changes that were made through the API, the newest first: of the project that the
// request names, or the token is bound to, or of all.
func getAudit(r *request) error {
	project := r.who.project
	if r.header("Client") != "" || r.query("project") != "" {
		named, err := projectOf(r)
		if err != nil {
			return err
		}
		if project != "" && project != named {
			return forbidden("this token is bound to another project")
		}
		project = named
	}
	per, err := r.count("per_page", perPage, maxPerPage)
	if err != nil {
		return err
	}
	before := r.query("before")
	list, err := r.plane.Audit(r.ctx, project, before, per)
	if before != "" && errors.Is(err, store.ErrNotFound) {
		return invalid("before", "found what is no change's id; want one, as next_page_url has it")
	} else if err != nil {
		return err
	}
	data, next := make([]any, len(list)), ""
	for i := range list {
		hideHashChanges(list[i].Fields)
		data[i] = &list[i]
	}
	if len(list) == per {
		next = list[per-1].ID
	}
	return r.trail(data, per, next)
}

// hideHashChanges shows of the hashes of links' tokens no more than of a token itself.
func hideHashChanges(fields []schema.Difference) {
	for i := range fields {
		if f := &fields[i]; strings.HasSuffix(f.Key, "_sha256") {
			f.From, f.To = schema.NewSecret(f.From).String(), schema.NewSecret(f.To).String()
		}
	}
}

// backuper is a store that writes a backup of itself: the one in a file.
type backuper interface {
	Backup(ctx context.Context, w io.Writer) error
}

// getBackup streams the store as it is at one moment, for hookswitch restore. One that breaks off is
// known by its checksum, and by the connection that is closed without the last chunk.
func getBackup(r *request) error {
	from, ok := r.store.(backuper)
	switch {
	case r.store == nil:
		return errNoStore
	case !ok:
		return refusal{status: fasthttp.StatusNotImplemented, message: "the store is no file of ours: back it up by its own means (Redis: BGSAVE)"}
	}
	conn, log := r.http.Conn(), r.log
	r.http.SetContentType("application/octet-stream")
	r.http.Response.Header.Set("Cache-Control", "no-store")
	r.http.Response.Header.Set("Content-Disposition", `attachment; filename="hookswitch-`+r.now().UTC().Format("20060102-150405")+`.backup"`)
	r.http.SetBodyStreamWriter(func(w *bufio.Writer) {
		// The request's own time is over when this runs: it may take as long as its reader goes on.
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		if err := from.Backup(ctx, patient{w, conn}); err != nil {
			log.Warn("a backup broke off", zap.Error(err))
			_ = conn.Close() // so that its reader sees that it did
		}
	})
	return nil
}

// patient is a connection's writer that gives its reader time anew with every write.
type patient struct {
	io.Writer
	conn net.Conn
}

func (p patient) Write(b []byte) (int, error) {
	_ = p.conn.SetWriteDeadline(time.Now().Add(readTimeout))
	return p.Writer.Write(b)
}
