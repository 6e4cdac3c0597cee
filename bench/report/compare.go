package report

import (
	"fmt"
	"maps"
	"slices"
)

// Difference holds two runs side by side. They were made at different times: on a machine with other
// things to do, only the ratios between programs of one run can be compared.
func Difference(old, now *Run) string {
	t := table{{"figure", "then", "now", "change"}}
	after := Judge(now)
	for i, f := range Judge(old) {
		for j, c := range f.Checks {
			n := after[i].Checks[j]
			if c.Measured && n.Measured {
				t = append(t, []string{f.What + ", " + c.Of, number(c.Value), number(n.Value), change(c.Value, n.Value)})
			}
		}
	}
	values := table{{"measurement", "then", "now", "change"}}
	for _, name := range slices.Sorted(maps.Keys(old.Values)) {
		if n, ok := now.Values[name]; ok {
			values = append(values, []string{name, number(old.Values[name]), number(n), change(old.Values[name], n)})
		}
	}
	return heading(old) + heading(now) + "\n" + t.text() + "\n" + values.text()
}

func change(then, now float64) string {
	if then == 0 {
		return ""
	}
	return fmt.Sprintf("%+.1f %%", (now/then-1)*100)
}

// Builds compares two programs of one run, round by round.
func Builds(r *Run, old, now string) string {
	t := table{{"load", "measured", old, now, "ratio, middle of the rounds", "lowest to highest"}}
	for _, load := range r.Loads() {
		for _, m := range []struct {
			name string
			of   func(Sample) float64
		}{
			{"CPU µs", cpu}, {"answers/s", rate},
			{"p50 ms", func(s Sample) float64 { return s.P50 }}, {"p99 ms", func(s Sample) float64 { return s.P99 }},
		} {
			ratios := r.Ratios(load, m.of, now, old)
			if len(ratios) == 0 {
				continue
			}
			t = append(t, []string{load, m.name, number(r.Find(load, old).Median(m.of)), number(r.Find(load, now).Median(m.of)),
				fmt.Sprintf("%.3f", median(ratios)), fmt.Sprintf("%.3f to %.3f", ratios[0], ratios[len(ratios)-1])})
		}
	}
	return heading(r) + "\n" + t.text()
}
