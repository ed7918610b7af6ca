package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Geometry of the plot, in pixels.
const (
	plotWidth  = 900
	labelWidth = 330
	rowHeight  = 34
	plotMargin = 24
)

// plot draws each ratio on a logarithmic axis: a dot with its interval, a tick at
// the goal, and a line at 1. Where more is better, the dot is blue.
func plot(results []result) string {
	var rows []result
	for _, r := range results {
		if r.Ratio != 0 {
			rows = append(rows, r)
		}
	}
	height := plotMargin*2 + rowHeight*len(rows)
	x := func(ratio float64) float64 { // 1/8 to 32
		t := (math.Log2(math.Min(math.Max(ratio, 0.125), 32)) + 3) / 8
		return labelWidth + t*(plotWidth-labelWidth-plotMargin)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	for _, tick := range []float64{0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32} {
		colour := "#ddd"
		if tick == 1 {
			colour = "#888"
		}
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s"/>`+"\n", x(tick), x(tick), plotMargin, height-plotMargin, colour)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#666">%g</text>`+"\n", x(tick), height-6, tick)
	}
	for i, r := range rows {
		y := plotMargin + rowHeight*i + rowHeight/2
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", 8, y, html.EscapeString(r.Name))
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="10" fill="#666">against %s</text>`+"\n", 8, y+12, html.EscapeString(r.PeerName))
		colour := "#1a6"
		if r.More {
			colour = "#26c"
		}
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-width="4" opacity="0.5"/>`+"\n", x(r.Low), x(r.High), y, y, colour)
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%d" r="5" fill="%s"/>`+"\n", x(r.Ratio), y, colour)
		if r.Goal != 0 {
			fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#c33" stroke-width="2"/>`+"\n", x(r.Goal), x(r.Goal), y-9, y+9)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
