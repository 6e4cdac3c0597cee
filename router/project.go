package router

// ProjectOf returns the project that a number belongs to, as it stands in the configuration or written
// with a "+" or 00 before it. Where there is just one project, every number is its.
func (r *Router) ProjectOf(number string) (id string, ok bool) {
	t := r.table.Load()
	if n := t.lookup(number); n != nil {
		return n.project.conf.ID, true
	}
	if t.only != nil {
		return t.only.conf.ID, true
	}
	return "", false
}
