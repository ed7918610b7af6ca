package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReport(t *testing.T) {
	dir := t.TempDir()
	in := strings.Join([]string{
		`{"name":"a","unit":"ns","peer_name":"p","goal":1.3,"ours":[1200,1300,1100],"peer":[1000,1000,1000]}`,
		`{"name":"c","unit":"bit/s","more":true,"goal":2,"ours":[3e9,3e9],"peer":[1e9,1e9]}`,
		`{"name":"d","unit":"1/s","more":true,"goal":0.7,"ours":[500],"peer":[1000]}`,
		`{"name":"b","unit":"bytes","ours":[2048],"peer":[]}`,
		`{"count":"exits","ours":10}`,
		`{"count":"exits","peer":40}`,
	}, "\n")
	var out bytes.Buffer
	require.NoError(t, run(strings.NewReader(in), &out, filepath.Join(dir, "j"), filepath.Join(dir, "s")))
	require.Contains(t, out.String(), "1.20")
	require.Contains(t, out.String(), "meets 1.30")
	require.Contains(t, out.String(), "3 Gbit/s")
	require.Contains(t, out.String(), "meets 2.00")
	require.Contains(t, out.String(), "misses 0.70")
	require.Contains(t, out.String(), "2 KiB")
	require.Contains(t, out.String(), "0.25")
	require.FileExists(t, filepath.Join(dir, "j"))
	require.FileExists(t, filepath.Join(dir, "s"))
}

func TestMedian(t *testing.T) {
	require.Zero(t, median(nil))
	require.Equal(t, 2.0, median([]float64{3, 1, 2}))
	require.Equal(t, 1.5, median([]float64{1, 2}))
}

func TestBadLine(t *testing.T) {
	_, err := read(strings.NewReader("{"))
	require.Error(t, err)
}
