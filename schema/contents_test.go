package schema

import (
	"crypto/sha256"
	"errors"
	"testing"
)

const securedProject = `
projects:
  - id: a
    default_schema: "1"
    schemas: [{id: "1", steps: [{hook: h}, {hangup: busy}]}]
    hooks:
      - {id: h, url: "https://a.example/", tls: {ca: ca.pem, cert: cert.pem, key: key.pem}}
      - {id: plain, url: "https://a.example/", tls: {server_name: b.example}}
    webhooks: [{url: "https://a.example/", event: create, tls: {ca: other.pem}}]
`

func TestProjectsAreTheSameWhileTheFilesThatTheyNameAre(t *testing.T) {
	read := 0
	load := func(changed string) *Project {
		t.Helper()
		c, err := Load("a.yaml", []byte(securedProject), LoadOptions{ReadFile: func(name string) ([]byte, error) {
			read++
			switch {
			case changed == "none of them":
				return nil, errors.New("it is gone")
			case name == changed:
				return []byte("changed"), nil
			}
			return []byte("what " + name + " held"), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		return c.Projects[0]
	}
	before := load("")
	if read != 4 {
		t.Errorf("%d files were read; want 4", read)
	}
	if before.Hooks[1].TLS.Contents != [sha256.Size]byte{} || before.Hooks[0].TLS.Contents == [sha256.Size]byte{} {
		t.Error("a hook without files has contents, or one with files has none")
	}
	if !Same(before, load("")) {
		t.Error("the files are as they were, and the projects differ")
	}
	for _, changed := range []string{"ca.pem", "cert.pem", "key.pem", "other.pem", "none of them"} {
		if Same(before, load(changed)) {
			t.Errorf("%s: the project is the same with another one", changed)
		}
	}
}

func TestAFileThatManyHooksNameIsReadOnce(t *testing.T) {
	read := 0
	_, err := Load("a.yaml", []byte(`
projects:
  - id: a
    default_schema: "1"
    schemas: [{id: "1", steps: [{hangup: busy}]}]
    hooks:
      - {id: h1, url: "https://a.example/", tls: {ca: ca.pem}}
      - {id: h2, url: "https://b.example/", tls: {ca: ./ca.pem}}
`), LoadOptions{ReadFile: func(string) ([]byte, error) { read++; return []byte("a certificate"), nil }})
	if err != nil || read != 1 {
		t.Errorf("got %v, and %d files were read; want 1", err, read)
	}
}
