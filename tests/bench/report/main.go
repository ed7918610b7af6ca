// Command report reads samples, one JSON object a line, prints ratios with their
// spread, and writes them as JSON and as a plot.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	jsonPath := flag.String("json", "", "write all results to `FILE`")
	svgPath := flag.String("svg", "", "write a plot of the ratios to `FILE`")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *jsonPath, *svgPath); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, jsonPath, svgPath string) error {
	results, err := read(in)
	if err != nil {
		return err
	}
	for i := range results {
		results[i].summarise()
	}
	if err := print(out, results); err != nil {
		return err
	}
	if jsonPath != "" {
		b, err := json.MarshalIndent(results, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(jsonPath, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if svgPath != "" {
		return os.WriteFile(svgPath, []byte(plot(results)), 0o644)
	}
	return nil
}

// read decodes the lines. A line with "count" holds one side of a measure that has
// no spread; the sides come on lines of their own.
func read(in io.Reader) ([]result, error) {
	var out []result
	counts := make(map[string]int)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line struct {
			result
			Count string `json:"count"`
			Ours  any    `json:"ours"`
			Peer  any    `json:"peer"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		r := line.result
		if line.Count != "" {
			i, ok := counts[line.Count]
			if !ok {
				i = len(out)
				counts[line.Count] = i
				out = append(out, result{Name: line.Count, Unit: "count", PeerName: "QEMU microvm"})
			}
			out[i].Ours = append(out[i].Ours, floats(line.Ours)...)
			out[i].Peer = append(out[i].Peer, floats(line.Peer)...)
			continue
		}
		r.Ours, r.Peer = floats(line.Ours), floats(line.Peer)
		out = append(out, r)
	}
	return out, lines.Err()
}

// floats takes a number or a list of them.
func floats(v any) []float64 {
	switch v := v.(type) {
	case float64:
		return []float64{v}
	case []any:
		var out []float64
		for _, x := range v {
			if f, ok := x.(float64); ok {
				out = append(out, f)
			}
		}
		return out
	}
	return nil
}
