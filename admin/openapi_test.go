package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"go.etcd.io/bbolt"
	"go.yaml.in/yaml/v3"

	"hookswitch/store"
)

// described is one operation as openapi.yaml has it.
type described struct {
	method, path string
	Scope        string                 `yaml:"x-scope"`
	Security     *[]map[string][]string `yaml:"security"`
	Parameters   []struct {
		Ref string `yaml:"$ref"`
	} `yaml:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Example any `yaml:"example"`
		} `yaml:"content"`
	} `yaml:"requestBody"`
}

// describedOperations reads them, in the order of their names.
func describedOperations(t *testing.T) []described {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]yaml.Node `yaml:"paths"`
	}
	if err := yaml.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	var list []described
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, key := range slices.Sorted(maps.Keys(doc.Paths[path])) {
			if key == "parameters" {
				continue // the path's own
			}
			node := doc.Paths[path][key]
			d := described{method: strings.ToUpper(key), path: path}
			if err := node.Decode(&d); err != nil {
				t.Fatalf("%s %s: %v", key, path, err)
			}
			list = append(list, d)
		}
	}
	return list
}

func (d *described) name() string { return d.method + " " + d.path }

// takes reports whether the operation has one of the document's parameters.
func (d *described) takes(parameter string) bool {
	for _, p := range d.Parameters {
		if p.Ref == "#/components/parameters/"+parameter {
			return true
		}
	}
	return false
}

// body is the request's example, "" where it has none.
func (d *described) body(t *testing.T) string {
	t.Helper()
	media, ok := d.RequestBody.Content["application/json"]
	if !ok {
		return ""
	}
	return encode(t, media.Example)
}

func TestTheOpenAPIDocumentIsSoundItself(t *testing.T) {
	doc, err := libopenapi.NewDocument(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, faults := v.ValidateDocument(); !ok {
		for _, f := range faults {
			t.Errorf("%s: %s", f.Message, f.Reason)
		}
	}
}

func TestTheOpenAPIDocumentDescribesTheTableAndNothingElse(t *testing.T) {
	table := map[string]operation{}
	for _, op := range operations() {
		table[op.Method+" "+op.Path] = op
	}
	for _, d := range describedOperations(t) {
		op, ok := table[d.name()]
		if !ok {
			t.Errorf("%s is described, and is no operation", d.name())
			continue
		}
		delete(table, d.name())
		if d.Scope != op.Scope {
			t.Errorf("%s: the document says scope %q; want %q", d.name(), d.Scope, op.Scope)
		}
		if open := d.Security != nil && len(*d.Security) == 0; open != (op.Scope == "") {
			t.Errorf("%s: the document says that it is open: %t; it wants scope %q", d.name(), open, op.Scope)
		}
		if op.Project && !(d.takes("Client") && d.takes("Project")) {
			t.Errorf("%s is about a project; want the parameters Client and Project", d.name())
		}
	}
	for name := range table {
		t.Errorf("%s is not described", name)
	}
}

// wrongKey is a request that comes with the wrong credentials to everything that there is.
type wrongKey struct {
	name, token, client string
	// refused says whether the operation must refuse it; want are the statuses that do.
	refused func(*described) bool
	want    []int
}

func TestWhoeverMayNotIsRefusedByEveryOperationAndChangesNothing(t *testing.T) {
	h := newHouse(t)
	keys := h.wrongKeys()
	before := h.everything()
	requests := 0
	for _, d := range describedOperations(t) {
		for _, key := range keys {
			if !key.refused(&d) {
				continue
			}
			requests++
			h.clock.Add(int64(refill)) // an address has twenty wrong tokens, and one more each refill
			a := h.ask(d.method, exampleOf(d.path), key.token, d.body(t), "Client", key.client, "Content-Type", "application/json")
			if !slices.Contains(key.want, a.status) {
				t.Errorf("%s by %s: found %d %.200s; want one of %v", d.name(), key.name, a.status, a.body, key.want)
			}
			if success, ok := a.json(t)["success"].(bool); !ok || success {
				t.Errorf("%s by %s: found %s; want success false", d.name(), key.name, a.body)
			}
		}
	}
	if requests < 5*len(operations()) {
		t.Errorf("%d requests were made; want each operation tried in several ways", requests)
	}
	if after := h.everything(); after != before {
		t.Errorf("something in the store has changed: found\n%s\nwant\n%s", after, before)
	}
}

// wrongKeys are all the ways to have no business there.
func (h *house) wrongKeys() []wrongKey {
	h.t.Helper()
	writeOnly := h.made(`{"name": "blind", "scopes": ["write"]}`)
	reader := h.made(`{"name": "reader", "scopes": ["read"]}`)
	keeper := h.made(`{"name": "keeper", "scopes": ["read", "write"], "project": "10553"}`)
	soon, _ := json.Marshal(time.Now().Add(time.Hour))
	expired := h.made(`{"name": "expired", "scopes": ["admin"], "expires": ` + string(soon) + `}`)
	revoked := h.want(http.StatusCreated, "POST", "/api/v1/tokens", opsToken, `{"name": "revoked", "scopes": ["admin"]}`)
	h.want(http.StatusOK, "DELETE", revoked.header.Get("Location"), opsToken, "")
	revokedText, _ := revoked.json(h.t)["token"].(string)
	h.clock.Add(int64(2 * time.Hour))
	secured := func(d *described) bool { return d.Scope != "" }
	return []wrongKey{
		{"nobody", "", "10553", secured, []int{401}},
		{"a token that is wrong", opsToken + "x", "10553", secured, []int{401}},
		{"a token that is revoked", revokedText, "10553", secured, []int{401}},
		{"a token that has expired", expired, "10553", secured, []int{401}},
		{"a token without the scope read", writeOnly, "10553", func(d *described) bool { return d.Scope == scopeRead }, []int{403}},
		{"a reader", reader, "10553", func(d *described) bool { return d.Scope == scopeWrite || d.Scope == scopeAdmin }, []int{403}},
		{"another project's token", keeper, "filed", func(d *described) bool {
			return d.takes("Client") || d.Scope == scopeAdmin || strings.HasPrefix(d.path, "/api/v1/projects/{id}")
		}, []int{403, 404}},
	}
}

// made makes a token.
func (h *house) made(wanted string) string {
	h.t.Helper()
	token, _ := h.want(http.StatusCreated, "POST", "/api/v1/tokens", opsToken, wanted).json(h.t)["token"].(string)
	if token == "" {
		h.t.Fatal("no token was made")
	}
	return token
}

// exampleOf is a path with its example's id in it.
func exampleOf(path string) string {
	ids := map[string]string{
		"projects": "filed", "numbers": "380442223344", "schemas": "100", "hooks": "crm", "intakes": "json", "incoming": "crm",
		"webhooks": "5", "deliveries": "none-5", "tokens": "0123456789abcdef", "decisions": "01JQ3Z3Z3Z3Z3Z3Z3Z3Z3Z3Z3Z",
	}
	kind, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/v1/"), "/")
	return strings.ReplaceAll(path, "{id}", ids[kind])
}

// everything is all that is in the store, documents, trails, values, outbox and change number, but for when
// tokens were last used.
func (h *house) everything() string {
	h.t.Helper()
	var backup, all bytes.Buffer
	path := filepath.Join(h.t.TempDir(), "copy.db")
	err := h.store.Backup(context.Background(), &backup)
	if err == nil {
		err = store.Restore(context.Background(), path, &backup)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	var dump func(name string, b *bbolt.Bucket) error
	dump = func(name string, b *bbolt.Bucket) error {
		fmt.Fprintf(&all, "%s: %d\n", name, b.Sequence())
		return b.ForEach(func(k, v []byte) error {
			if inner := b.Bucket(k); inner != nil {
				return dump(name+"/"+string(k), inner)
			}
			if !bytes.Contains(k, []byte("token:used:")) {
				fmt.Fprintf(&all, "%s %q: %q\n", name, k, v)
			}
			return nil
		})
	}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error { return dump(string(name), b) })
	})
	if err != nil || !strings.Contains(all.String(), "10553") {
		h.t.Fatalf("found %d bytes, %v; want what is in the store", all.Len(), err)
	}
	return all.String()
}
