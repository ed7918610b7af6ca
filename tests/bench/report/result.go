package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"text/tabwriter"
)

// result is a measure: samples of ours and, mostly, of a peer's.
type result struct {
	Name     string    `json:"name"`
	Unit     string    `json:"unit"`
	PeerName string    `json:"peer_name,omitempty"`
	More     bool      `json:"more,omitempty"` // more is better
	Goal     float64   `json:"goal,omitempty"` // largest ratio that meets the goal, with More the least; 0: none
	Ours     []float64 `json:"ours"`
	Peer     []float64 `json:"peer,omitempty"`

	OursMedian float64 `json:"ours_median"`
	PeerMedian float64 `json:"peer_median,omitempty"`
	Ratio      float64 `json:"ratio,omitempty"` // of the medians, ours to the peer's
	Low, High  float64 // middle 95 % of ratios of resampled medians
}

// resamples is the number of bootstrap rounds: the 2.5 % ends rest on 50 each.
const resamples = 2000

// summarise fills in medians, ratio and interval.
func (r *result) summarise() {
	r.OursMedian, r.PeerMedian = median(r.Ours), median(r.Peer)
	if r.PeerMedian == 0 {
		return
	}
	r.Ratio = r.OursMedian / r.PeerMedian
	rnd := rand.New(rand.NewPCG(1, 2)) // the same samples give the same report
	ratios := make([]float64, 0, resamples)
	for range resamples {
		if p := median(resample(rnd, r.Peer)); p != 0 {
			ratios = append(ratios, median(resample(rnd, r.Ours))/p)
		}
	}
	slices.Sort(ratios)
	r.Low, r.High = ratios[len(ratios)*25/1000], ratios[len(ratios)*975/1000]
}

func resample(r *rand.Rand, v []float64) []float64 {
	out := make([]float64, len(v))
	for i := range out {
		out[i] = v[r.IntN(len(v))]
	}
	return out
}

// median of v; 0 for none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// verdict says whether the goal is met: "missed" also when the interval touches it.
func (r *result) verdict() string {
	ratio, worst, goal := r.Ratio, r.High, r.Goal
	if r.More {
		ratio, worst, goal = -ratio, -r.Low, -goal
	}
	switch {
	case r.Goal == 0 || r.Ratio == 0:
		return ""
	case worst <= goal:
		return fmt.Sprintf("meets %.2f", r.Goal)
	case ratio <= goal:
		return fmt.Sprintf("meets %.2f, not surely", r.Goal)
	default:
		return fmt.Sprintf("misses %.2f", r.Goal)
	}
}

// print writes the table.
func print(out io.Writer, results []result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "measure\tours\tpeer\tratio\t95 %\tgoal\tpeer is")
	for _, r := range results {
		peer, ratio, spread := "", "", ""
		if r.Ratio != 0 {
			peer = human(r.PeerMedian, r.Unit)
			ratio = fmt.Sprintf("%.2f", r.Ratio)
			spread = fmt.Sprintf("%.2f to %.2f", r.Low, r.High)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, human(r.OursMedian, r.Unit), peer, ratio, spread, r.verdict(), r.PeerName)
	}
	return w.Flush()
}

// human writes a quantity with a fitting unit.
func human(v float64, unit string) string {
	steps := map[string][]string{
		"ns": {"ns", "µs", "ms", "s"}, "bytes": {"B", "KiB", "MiB", "GiB"},
		"bit/s": {"bit/s", "kbit/s", "Mbit/s", "Gbit/s"}, "1/s": {"/s", "k/s", "M/s"},
	}[unit]
	if steps == nil {
		return fmt.Sprintf("%.4g", v)
	}
	base := 1000.0
	if unit == "bytes" {
		base = 1024
	}
	i := 0
	for v >= base && i < len(steps)-1 {
		v /= base
		i++
	}
	return fmt.Sprintf("%.3g %s", v, steps[i])
}
