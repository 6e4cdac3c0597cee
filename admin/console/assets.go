package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/valyala/fasthttp"
)

//go:embed static
var staticFiles embed.FS

// assets are the style sheet and scripts, under names that hold their content's hash, so that a
// browser may keep them for ever and never has an old one.
type assets struct {
	by    map[string]assetFile // by the name in the URL
	paths map[string]string    // by the name in static/
}

type assetFile struct {
	contentType   string
	plain, zipped []byte
}

var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

func loadAssets() (assets, error) {
	a := assets{by: map[string]assetFile{}, paths: map[string]string{}}
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		return a, err
	}
	for _, e := range entries {
		b, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			return a, err
		}
		ext := path.Ext(e.Name())
		if assetTypes[ext] == "" {
			return a, fmt.Errorf("static/%s: found the ending %q; want .css, .js or .svg", e.Name(), ext)
		}
		sum := sha256.Sum256(b)
		name := strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.by[name] = assetFile{contentType: assetTypes[ext], plain: b, zipped: zip(b, gzip.BestCompression)}
		a.paths[e.Name()] = "/static/" + name
	}
	return a, nil
}

func zip(b []byte, level int) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, level) // one of gzip's own
	w.Write(b)                               // into memory: never fails
	w.Close()
	return out.Bytes()
}

// asset answers with a style sheet or a script.
func (v *visit) asset() error {
	file, ok := v.assets.by[v.args["name"]]
	if !ok {
		return fault{status: fasthttp.StatusNotFound, key: "fault.not_found"}
	}
	h := &v.http.Response.Header
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	v.body(file.contentType, file.plain, file.zipped)
	return nil
}

// page answers with a page, zipped where the browser takes that: that a page holds the session's form and
// what the URL says is no way to guess the former (BREACH), since no other site's request has the cookie.
func (v *visit) page(b []byte) {
	var zipped []byte
	if v.http.Request.Header.HasAcceptEncoding("gzip") {
		zipped = zip(b, gzip.BestSpeed)
	}
	v.body("text/html; charset=utf-8", b, zipped)
}

// body answers with bytes, zipped where the browser takes that and zipped is there.
func (v *visit) body(contentType string, plain, zipped []byte) {
	v.http.SetContentType(contentType)
	v.http.Response.Header.Set("Vary", "Accept-Encoding")
	if zipped != nil && v.http.Request.Header.HasAcceptEncoding("gzip") {
		v.http.Response.Header.Set("Content-Encoding", "gzip")
		v.http.SetBody(zipped)
		return
	}
	v.http.SetBody(plain)
}
