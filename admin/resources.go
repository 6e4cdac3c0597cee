package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// collection is one of the lists that a project has, as operations. T's JSON is the configuration's
// own: the same keys, defaults and checks.
type collection[T any] struct {
	// name is the project's key, and stands in the path; noun is what one of them is called, and
	// idKey the key by which it is told from the others.
	name, noun, idKey string
	list              func(*schema.Project) *[]T
	id                func(*T) string
	// setID gives one that says none the id in the path.
	setID func(*T, string)
	// matches reports whether the parameter q is found in one.
	matches func(one *T, q string) bool
	// show and showInList return what a GET of one, and of the list, shows of it; nil for all of it.
	show, showInList func(*request, *T) (any, error)
	// told is what is shown of one beside its settings, and left unread where it is sent back; "" for
	// nothing.
	told string
	// prepare readies one for being kept, was being nil for a new one; body is what was sent. Nil for
	// nothing to do.
	prepare func(r *request, was, one *T, body []byte) error
	// created answers a create; nil for 201 and {"success": true}.
	created func(r *request, one *T) error
}

func (c *collection[T]) operations() []operation {
	all, one := "/api/v1/"+c.name, "/api/v1/"+c.name+"/{id}"
	return []operation{
		{"GET", all, scopeRead, true, c.getAll},
		{"POST", all, scopeWrite, true, once(c.create)},
		{"GET", one, scopeRead, true, c.get},
		{"PUT", one, scopeWrite, true, c.update},
		{"DELETE", one, scopeWrite, true, c.remove},
	}
}

// getAll lists, those that match q, a page at a time.
func (c *collection[T]) getAll(r *request) error {
	return c.getAllOf(r, func(*T) bool { return true })
}

// getAllOf is getAll of those that are wanted.
func (c *collection[T]) getAllOf(r *request, wanted func(*T) bool) error {
	q, list := strings.ToLower(r.query("q")), *c.list(r.project)
	places := make([]int, 0, len(list))
	for i := range list {
		if wanted(&list[i]) && (q == "" || c.matches(&list[i], q)) {
			places = append(places, i)
		}
	}
	return r.page(len(places), func(i int) (any, error) { return shown(r, c.showInList, &list[places[i]]) })
}

func (c *collection[T]) get(r *request) error {
	i := c.find(r.project, r.arg("id"))
	if i < 0 {
		return c.none(r)
	}
	v, err := shown(r, c.show, &(*c.list(r.project))[i])
	if err != nil {
		return err
	}
	r.http.Response.Header.Set("ETag", etag(r.project.ID, r.project.Version))
	return r.answer(v)
}

// shown returns what is shown of one by show, or all of it.
func shown[T any](r *request, show func(*request, *T) (any, error), one *T) (any, error) {
	if show != nil {
		return show(r, one)
	}
	b, err := schema.EncodeResource(one, false)
	return json.RawMessage(b), err
}

func (c *collection[T]) create(r *request) error {
	one, err := c.decode(r, nil)
	if err != nil {
		return err
	}
	var place int
	err = r.change(func(p *schema.Project) error {
		if place = c.find(p, c.id(one)); place >= 0 {
			if r.again && same(&(*c.list(p))[place], one) {
				return nil
			}
			return behind(invalid(c.idKey, fmt.Sprintf("found %q; want one that no other %s has", c.id(one), c.noun)))
		}
		list := c.list(p)
		place = len(*list)
		*list = append(*list, *one)
		return nil
	})
	if err != nil {
		return c.within(err, place)
	}
	r.http.Response.Header.Set("Location", "/api/v1/"+c.name+"/"+c.id(one))
	if c.created != nil {
		return c.created(r, one)
	}
	return r.created(success{Success: true})
}

func (c *collection[T]) update(r *request) error {
	id, place := r.arg("id"), 0
	if c.find(r.project, id) < 0 {
		return c.none(r)
	}
	err := r.change(func(p *schema.Project) error {
		list := *c.list(p)
		if place = c.find(p, id); place < 0 {
			return c.none(r)
		}
		one, err := c.decode(r, &list[place])
		if err != nil {
			return err
		}
		list[place] = *one
		return nil
	})
	if err != nil {
		return c.within(err, place)
	}
	return r.done()
}

func (c *collection[T]) remove(r *request) error {
	id := r.arg("id")
	if c.find(r.project, id) < 0 {
		return c.none(r)
	}
	err := r.change(func(p *schema.Project) error {
		list, i := c.list(p), c.find(p, id)
		if i < 0 {
			return c.none(r)
		}
		*list = slices.Delete(*list, i, i+1)
		return nil
	})
	if err != nil {
		return err
	}
	return r.done()
}

// decode reads the body as one, was being what it replaces, nil for nothing. What is hidden in it as
// "***" stays what it was.
func (c *collection[T]) decode(r *request, was *T) (*T, error) {
	body, err := r.body(maxBody)
	if err != nil {
		return nil, err
	}
	if c.told != "" {
		body = without(body, c.told)
	}
	one := new(T)
	if err := schema.DecodeResource(body, one); err != nil {
		return nil, err
	}
	if was != nil {
		if c.id(one) == "" || c.id(one) == "0" {
			c.setID(one, c.id(was))
		}
		if c.id(one) != c.id(was) {
			return nil, invalid(c.idKey, fmt.Sprintf("found %.80q; want %q, as in the path, or none", c.id(one), c.id(was)))
		}
		schema.KeepSecrets(was, one)
	}
	if c.prepare != nil {
		if err := c.prepare(r, was, one, body); err != nil {
			return nil, err
		}
	}
	return one, nil
}

// without returns a JSON object without one of its keys; what is no object is refused by who reads it.
func without(body []byte, key string) []byte {
	said := map[string]json.RawMessage{}
	if json.Unmarshal(body, &said) != nil || said[key] == nil {
		return body
	}
	delete(said, key)
	rest, err := json.Marshal(said)
	if err != nil {
		return body
	}
	return rest
}

// find returns the place of the one called id, -1 for nowhere.
func (c *collection[T]) find(p *schema.Project, id string) int {
	list := *c.list(p)
	for i := range list {
		if c.id(&list[i]) == id {
			return i
		}
	}
	return -1
}

// same reports two that say the same.
func same(a, b any) bool {
	textA, errA := schema.EncodeResource(a, true)
	textB, errB := schema.EncodeResource(b, true)
	return errA == nil && errB == nil && bytes.Equal(textA, textB)
}

// within gives faults at the place in the list that was sent the field names of what was sent, and
// leaves all others as they are: paths within the project.
func (c *collection[T]) within(err error, place int) error {
	var faults schema.Faults
	if !errors.As(err, &faults) {
		return err
	}
	here := c.name + "[" + strconv.Itoa(place) + "]"
	faults = slices.Clone(faults)
	for i := range faults {
		if rest, ok := strings.CutPrefix(faults[i].Key, here+"."); ok {
			faults[i].Key = rest
		}
	}
	return faults
}

func (c *collection[T]) none(r *request) error {
	return behind(notFound(fmt.Sprintf("%s %.80q in project %s", c.noun, r.arg("id"), r.project.ID)))
}

// has reports whether q, in lower case, stands in one of the texts.
func has(q string, texts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), q) })
}

// created answers 201: the Location says where what was made is.
func (r *request) created(v any) error {
	r.write(fasthttp.StatusCreated, v)
	return nil
}
