package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

// Terminal is the run's tables as text.
func Terminal(r *Run) string {
	parts := []string{heading(r), figureTable(r).text()}
	if len(r.Programs) > 0 {
		parts = append(parts, programTable(r).text(), loadTable(r).text())
	}
	if len(r.Scenarios) > 0 {
		parts = append(parts, scenarioTable(r).text())
	}
	if len(r.Notes) > 0 {
		parts = append(parts, strings.Join(r.Notes, "\n"))
	}
	return strings.Join(parts, "\n")
}

// TerminalScenarios is the table of scenarios alone.
func TerminalScenarios(r *Run) string { return scenarioTable(r).text() }

// Files are what a run leaves for people, by name: a page with everything in it, the tables for the
// README, and the pictures that go beside them.
func Files(r *Run) (map[string][]byte, error) {
	files := map[string][]byte{}
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	var page strings.Builder
	if err := t.Execute(&page, newPage(r)); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	files["index.html"] = []byte(page.String())
	files["table.md"] = []byte(heading(r) + "\n" + figureTable(r).markdown() + "\n" + programTable(r).markdown())
	for _, c := range r.Charts {
		files[c.ID+".svg"] = []byte(c.SVG())
	}
	if b := cpuBars(r); len(b.Values) > 0 {
		files["cpu.svg"] = []byte(b.SVG())
	}
	return files, nil
}

func heading(r *Run) string {
	quick := ""
	if r.Quick {
		quick = " Short rounds: no more than a hint."
	}
	return fmt.Sprintf("%s, %d cores, %s, Linux %s; %s; the run took %v.%s\n", r.Machine.CPU, r.Machine.Cores, r.Machine.OS, r.Machine.Kernel,
		r.Begun.UTC().Format("2006-01-02 15:04 UTC"), r.Took.Round(time.Second), quick)
}

func cpuBars(r *Run) *Bars {
	b := &Bars{Title: "CPU per decision on one core, saturated, GET", Unit: "µs"}
	for _, p := range r.Programs {
		if l := r.Find("get", p.Name); l != nil {
			b.Names, b.Values = append(b.Names, p.Title), append(b.Values, l.Median(cpu))
		}
	}
	return b
}

// page is what the template shows.
type page struct {
	Heading                             string
	Figures, Programs, Loads, Scenarios table
	Bars                                template.HTML
	Charts                              []template.HTML
	Plays                               []play
	Values                              table
	Notes                               []string
	Versions                            table
}

type play struct {
	Name, About, Line string
	Reasons           string
	Chart             template.HTML
}

// newPage prepares a run. The pictures are our own, their texts escaped.
func newPage(r *Run) page {
	p := page{Heading: heading(r), Figures: figureTable(r), Notes: r.Notes}
	if len(r.Programs) > 0 {
		p.Programs, p.Loads = programTable(r), loadTable(r)
		p.Bars = template.HTML(cpuBars(r).SVG())
		p.Versions = table{{"program", "what it does", "version"}}
		for _, program := range r.Programs {
			p.Versions = append(p.Versions, []string{program.Title, program.Does, program.Version})
		}
	}
	for _, c := range r.Charts {
		p.Charts = append(p.Charts, template.HTML(c.SVG()))
	}
	if len(r.Scenarios) > 0 {
		p.Scenarios = scenarioTable(r)
	}
	for _, s := range r.Scenarios {
		p.Plays = append(p.Plays, play{s.Name, s.About, ScenarioLine(s), reasons(s), template.HTML(s.Chart.SVG())})
	}
	p.Values = table{{"measurement", "value"}}
	for _, name := range slices.Sorted(maps.Keys(r.Values)) {
		p.Values = append(p.Values, []string{name, number(r.Values[name])})
	}
	return p
}

// reasons sums up why the answers of a scenario were what they were.
func reasons(s Scenario) string {
	counts := map[string]uint64{}
	for _, o := range s.Streams {
		for reason, n := range o.Reasons {
			counts[reason] += n
		}
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", reason, counts[reason]))
	}
	return strings.Join(parts, ", ")
}
