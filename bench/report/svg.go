package report

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The measures of a plot, in pixels.
const (
	width, height = 760, 340
	left, right   = 62, 212
	top, bottom   = 44, 48
)

// colours of the lines, told apart by eyes that see fewer of them too (Okabe and Ito); the first is
// hookswitch's.
var colours = []string{"#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555", "#999999"}

// SVG draws a chart as one picture that needs nothing else.
func (c *Chart) SVG() string {
	var b strings.Builder
	x, y := newScale(c.X.Scale, c.xs(), left, width-right), newScale(c.Y.Scale, c.ys(), height-bottom, top)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui,sans-serif" font-size="12" role="img" aria-label="%s">`,
		width, height, width, height, html.EscapeString(c.Title))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff" rx="6"/><text x="%d" y="24" font-size="15" font-weight="600" fill="#222">%s</text>`, width, height, left, html.EscapeString(c.Title))
	for _, t := range y.ticks {
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#e4e4e4"/><text x="%d" y="%.1f" text-anchor="end" fill="#666">%s</text>`,
			left, width-right, y.at(t), y.at(t), left-8, y.at(t)+4, number(t))
	}
	for _, t := range x.ticks {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#f0f0f0"/><text x="%.1f" y="%d" text-anchor="middle" fill="#666">%s</text>`,
			x.at(t), x.at(t), top, height-bottom, x.at(t), height-bottom+18, number(t))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#444">%s</text>`, (left+width-right)/2, height-10, html.EscapeString(c.X.Title))
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#444">%s</text>`, left-8, top-8, html.EscapeString(shorten(c.Y.Title)))
	for _, e := range c.Events {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#888" stroke-dasharray="3 3"/><text x="%.1f" y="%d" fill="#666" font-size="11">%s</text>`,
			x.at(e.X), x.at(e.X), top, height-bottom, x.at(e.X)+3, top+10, html.EscapeString(e.Text))
	}
	c.lines(&b, x, y)
	b.WriteString("</svg>")
	return b.String()
}

// lines draws the lines, each named at its end.
func (c *Chart) lines(b *strings.Builder, x, y scale) {
	type label struct {
		y    float64
		text string
		fill string
	}
	var labels []label
	for i, l := range c.Lines {
		colour, wide := colours[i%len(colours)], 1.6
		if i == 0 {
			wide = 2.6
		}
		var path strings.Builder
		end := 0.0
		for j, p := range l.Points {
			end = y.at(p.Y)
			fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[j == 0], x.at(p.X), end)
		}
		if len(l.Points) == 0 {
			continue
		}
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="%.1f" stroke-linejoin="round"/>`, path.String(), colour, wide)
		if len(l.Points) < 15 {
			for _, p := range l.Points {
				fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="2.6" fill="%s"/>`, x.at(p.X), y.at(p.Y), colour)
			}
		}
		labels = append(labels, label{end, fmt.Sprintf("%s  %s", l.Name, number(l.Points[len(l.Points)-1].Y)), colour})
	}
	// Names that would lie on one another are pushed apart.
	slices.SortFunc(labels, func(a, b label) int { return cmp.Compare(a.y, b.y) })
	for i := range labels {
		if i > 0 {
			labels[i].y = math.Max(labels[i].y, labels[i-1].y+15)
		}
	}
	for i := len(labels) - 1; i >= 0; i-- {
		limit := float64(height - bottom - 15*(len(labels)-1-i))
		labels[i].y = math.Min(labels[i].y, limit)
		fmt.Fprintf(b, `<text x="%d" y="%.1f" fill="%s">%s</text>`, width-right+8, labels[i].y+4, labels[i].fill, html.EscapeString(labels[i].text))
	}
}

func (c *Chart) xs() (v []float64) { return c.values(func(p Point) float64 { return p.X }) }
func (c *Chart) ys() (v []float64) { return c.values(func(p Point) float64 { return p.Y }) }

func (c *Chart) values(of func(Point) float64) (v []float64) {
	for _, l := range c.Lines {
		for _, p := range l.Points {
			v = append(v, of(p))
		}
	}
	return v
}

// scale maps values to pixels.
type scale struct {
	of       func(float64) float64 // the value's place before stretching
	low, top float64               // places of the ends
	from, to float64               // pixels of the ends
	ticks    []float64
}

func (s scale) at(v float64) float64 {
	if s.top == s.low {
		return (s.from + s.to) / 2
	}
	return s.from + (s.of(v)-s.low)/(s.top-s.low)*(s.to-s.from)
}

func newScale(kind string, values []float64, from, to float64) scale {
	s := scale{of: func(v float64) float64 { return v }, from: from, to: to}
	if len(values) == 0 {
		values = []float64{0, 1}
	}
	low, high := slices.Min(values), slices.Max(values)
	switch kind {
	case "log":
		s.of = func(v float64) float64 { return math.Log10(math.Max(v, 1e-3)) }
		s.ticks = logTicks(low, high)
	case "percentile":
		// Each nine takes as much room as the one before.
		s.of = func(v float64) float64 { return -math.Log10(1 - math.Min(v, 99.999)/100) }
		for _, t := range []float64{0, 50, 90, 99, 99.9, 99.99} {
			if t <= high {
				s.ticks = append(s.ticks, t)
			}
		}
	default:
		s.ticks = linearTicks(math.Min(low, 0), high)
	}
	if len(s.ticks) > 0 {
		low, high = math.Min(low, s.ticks[0]), math.Max(high, s.ticks[len(s.ticks)-1])
	}
	s.low, s.top = s.of(low), s.of(high)
	return s
}

// logTicks are 1, 2 and 5 of each decade around the values, or the decades alone where that is many.
func logTicks(low, high float64) (ticks []float64) {
	low = math.Max(low, 1e-3)
	steps := []float64{1, 2, 5}
	if high/low > 1e3 {
		steps = steps[:1]
	}
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(math.Max(high, low))); e++ {
		for _, m := range steps {
			ticks = append(ticks, m*math.Pow(10, e))
		}
	}
	for len(ticks) > 2 && ticks[1] <= low {
		ticks = ticks[1:]
	}
	for len(ticks) > 2 && ticks[len(ticks)-2] >= high {
		ticks = ticks[:len(ticks)-1]
	}
	return ticks
}

// linearTicks are four to eight round numbers from low to high.
func linearTicks(low, high float64) (ticks []float64) {
	if high <= low {
		high = low + 1
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*m) <= 8 {
			step *= m
			break
		}
	}
	for t := math.Floor(low/step) * step; t < high+step; t += step {
		ticks = append(ticks, t)
	}
	return ticks
}

// number prints a value as a person would.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 10000:
		return fmt.Sprintf("%gk", math.Round(v/100)/10)
	case a >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.4g", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// shorten keeps the axis' title in its corner.
func shorten(title string) string {
	if len(title) > 10 {
		return ""
	}
	return title
}

// Bars is a chart of one number a program, drawn as bars.
type Bars struct {
	Title, Unit string
	Names       []string
	Values      []float64
}

// SVG draws the bars, hookswitch's in its colour.
func (c *Bars) SVG() string {
	const row, label, bar = 26, 210, 420
	tall := 48 + row*len(c.Names)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui,sans-serif" font-size="12" role="img" aria-label="%s">`,
		width, tall, width, tall, html.EscapeString(c.Title))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff" rx="6"/><text x="16" y="24" font-size="15" font-weight="600" fill="#222">%s</text>`, width, tall, html.EscapeString(c.Title))
	high := 0.0
	for _, v := range c.Values {
		high = math.Max(high, v)
	}
	for i, v := range c.Values {
		y, fill := 40+row*i, "#b8bcc2"
		if i == 0 {
			fill = colours[0]
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#222">%s</text><rect x="%d" y="%d" width="%.1f" height="16" fill="%s" rx="2"/><text x="%.1f" y="%d" fill="#222">%s %s</text>`,
			label-10, y+12, html.EscapeString(c.Names[i]), label, y, v/math.Max(high, 1e-9)*bar, fill, float64(label)+v/math.Max(high, 1e-9)*bar+8, y+12, number(v), html.EscapeString(c.Unit))
	}
	b.WriteString("</svg>")
	return b.String()
}
