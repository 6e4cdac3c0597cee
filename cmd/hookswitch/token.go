package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/valyala/fasthttp"

	"hookswitch/admin"
	"hookswitch/control"
	"hookswitch/schema"
	"hookswitch/store"
)

// tokenCommand makes, lists and revokes tokens of the admin API. A Redis is asked itself; a store that
// is a file belongs to the service that has it open, which is asked by its API, with a token of the
// configuration file's that may.
type tokenCommand struct {
	Create tokenCreateCommand `cmd:"" help:"Make a token and print it, this once."`
	List   tokenListCommand   `cmd:"" help:"List the tokens made, not those of the file."`
	Revoke tokenRevokeCommand `cmd:"" help:"End a token, on every instance within a second."`
}

// tokenPlace says where tokens are kept.
type tokenPlace struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration file."`
	Admin  string `placeholder:"URL" help:"The admin API to ask, where it is not at the file's admin.listen over http."`
}

type tokenCreateCommand struct {
	tokenPlace
	Name    string        `required:"" help:"What to know the token by."`
	Scopes  []string      `default:"read" help:"read, write, or admin for everything (${default})."`
	Project string        `help:"The project that the token is bound to; none for all."`
	Expires time.Duration `placeholder:"DURATION" help:"For how long it is good; for ever where not given."`
}

// Run prints the token alone, for a script to take.
func (c *tokenCreateCommand) Run(ctx context.Context, out io.Writer) error {
	wanted := admin.NewToken{Name: c.Name, Scopes: c.Scopes, Project: c.Project}
	if c.Expires > 0 {
		at := time.Now().Add(c.Expires).UTC().Truncate(time.Second)
		wanted.Expires = &at
	}
	return c.with(ctx, func(k tokenKeeper) error {
		token, err := k.create(ctx, wanted)
		if token == "" {
			return err
		}
		_, printed := fmt.Fprintln(out, token) // it was made, and nobody can be told it again
		return errors.Join(err, printed)
	})
}

type tokenListCommand struct{ tokenPlace }

// Run prints a line a token, the oldest uses included.
func (c *tokenListCommand) Run(ctx context.Context, out io.Writer) error {
	return c.with(ctx, func(k tokenKeeper) error {
		list, err := k.list(ctx)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tNAME\tSCOPES\tPROJECT\tCREATED\tBY\tEXPIRES\tLAST USED")
		for _, t := range list {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, strings.Join(t.Scopes, ","), orDash(t.Project),
				t.Created.Format(time.RFC3339), t.CreatedBy, moment(t.Expires), moment(t.LastUsed))
		}
		return table.Flush()
	})
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}

type tokenRevokeCommand struct {
	tokenPlace
	ID string `arg:"" help:"The token's id, as list shows it."`
}

func (c *tokenRevokeCommand) Run(ctx context.Context) error {
	return c.with(ctx, func(k tokenKeeper) error { return k.revoke(ctx, c.ID) })
}

// tokenKeeper is where tokens are made.
type tokenKeeper interface {
	// create may return a token and an error, where it is made and something else went wrong.
	create(context.Context, admin.NewToken) (token string, err error)
	list(context.Context) ([]admin.Token, error)
	revoke(ctx context.Context, id string) error
}

// with calls do with the keeper that the flags and the file name.
func (p *tokenPlace) with(ctx context.Context, do func(tokenKeeper) error) error {
	cfg, err := loadFile(p.Config)
	if err != nil {
		return err
	}
	if kind, _, _ := strings.Cut(cfg.Store, ":"); p.Admin == "" && kind != "bolt" {
		if kind == "none" {
			return errors.New("there is no store (store: none) to keep tokens in; those of the file are made there")
		}
		s, err := store.Open(ctx, cfg.Store)
		if err != nil {
			return err
		}
		defer s.Close()
		return do(tokensInStore{s})
	}
	api := tokensByAPI{url: strings.TrimSuffix(p.Admin, "/")}
	if api.url == "" {
		api.url = "http://" + cfg.Admin.Listen
	}
	for _, t := range cfg.Admin.Tokens {
		if t.Project == "" && slices.Contains(t.Scopes, "write") {
			api.token = t.Token
		}
	}
	if api.token.Reveal() == "" {
		return fmt.Errorf("%s: admin.tokens: found none with the scope write and no project; the API makes tokens for such a one only", p.Config)
	}
	return do(api)
}

// tokensInStore are those of a store that is open to several.
type tokensInStore struct{ store store.Store }

func (k tokensInStore) create(ctx context.Context, wanted admin.NewToken) (string, error) {
	t, text, err := admin.CreateToken(ctx, k.store, k.who(), wanted, time.Now())
	if err != nil {
		return "", err
	}
	return text, k.record(ctx, t.Change("create", k.who()))
}

func (tokensInStore) who() string {
	who := "hookswitch token"
	if u, err := user.Current(); err == nil {
		who += " (" + u.Username + ")"
	}
	return who
}

// record writes what was done into the audit trail.
func (k tokensInStore) record(ctx context.Context, c control.Change) error {
	if err := control.Record(ctx, k.store, c); err != nil {
		return fmt.Errorf("it was done (%s token %s), but the audit trail does not say so: %w", c.Action, c.Token, err)
	}
	return nil
}

func (k tokensInStore) list(ctx context.Context) ([]admin.Token, error) {
	return admin.ListTokens(ctx, k.store)
}

func (k tokensInStore) revoke(ctx context.Context, id string) error {
	t, err := admin.RevokeToken(ctx, k.store, id)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no token with the id %q; hookswitch token list shows them", id)
	}
	if err != nil {
		return err
	}
	return k.record(ctx, t.Change("delete", k.who()))
}

// tokensByAPI are those of a running service.
type tokensByAPI struct {
	url   string
	token schema.Secret
}

func (k tokensByAPI) create(_ context.Context, wanted admin.NewToken) (string, error) {
	var made struct {
		Token string `json:"token"`
	}
	err := k.ask("POST", "/api/v1/tokens", wanted, &made)
	return made.Token, err
}

func (k tokensByAPI) list(context.Context) ([]admin.Token, error) {
	var all []admin.Token
	for number := 1; ; number++ {
		var page struct {
			Data     []admin.Token `json:"data"`
			LastPage int           `json:"last_page"`
		}
		if err := k.ask("GET", fmt.Sprintf("/api/v1/tokens?per_page=100&page=%d", number), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if number >= page.LastPage {
			return all, nil
		}
	}
}

func (k tokensByAPI) revoke(_ context.Context, id string) error {
	return k.ask("DELETE", "/api/v1/tokens/"+id, nil, nil)
}

// ask makes one request, and reads the answer into answer.
func (k tokensByAPI) ask(method, path string, body, answer any) error {
	q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(q)
	defer fasthttp.ReleaseResponse(a)
	q.Header.SetMethod(method)
	q.SetRequestURI(k.url + path)
	q.Header.Set("Authorization", "Bearer "+k.token.Reveal())
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		q.Header.SetContentType("application/json")
		q.SetBody(b)
	}
	if err := fasthttp.DoTimeout(q, a, 15*time.Second); err != nil {
		return fmt.Errorf("%s: %w; is the service running, and its admin API at that address?", k.url, err)
	}
	if status := a.StatusCode(); status != fasthttp.StatusOK && status != fasthttp.StatusCreated {
		var refused struct {
			Message string              `json:"message"`
			Errors  map[string][]string `json:"errors"`
		}
		_ = json.Unmarshal(a.Body(), &refused) // else the status says it all
		return fmt.Errorf("%s: status %d: %s %v", k.url, status, refused.Message, refused.Errors)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(a.Body(), answer)
}
