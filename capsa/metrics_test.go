package capsa_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// sampleLine is a line of the text format: a name, labels, and a number.
var sampleLine = regexp.MustCompile(`^(capsa_[a-z_]+)\{([a-z_]+="(?:[^"\\\n]|\\[\\"n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\[\\"n])*")*)\} ([0-9.e+-]+)$`)

// parse checks the text and returns the values by name and labels.
func parse(t *testing.T, text []byte) map[string]string {
	t.Helper()
	values := make(map[string]string)
	types := make(map[string]string)
	last := ""
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(name, " ")
			require.NotContains(t, types, name, "each family comes once")
			require.Contains(t, []string{"counter", "gauge"}, kind)
			require.Equal(t, kind == "counter", strings.HasSuffix(name, "_total"), name)
			types[name], last = kind, name
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		require.NotNil(t, m, line)
		require.Equal(t, last, m[1], "samples follow their type")
		key := m[1] + "{" + m[2] + "}"
		require.NotContains(t, values, key)
		values[key] = m[3]
	}
	return values
}

func TestMetrics(t *testing.T) {
	vmtest.CheckLeaks(t)
	b := builder(t, program(func(g *vmtest.Guest) {
		g.Print("Out of memory: Killed process 7 (hog)\n")
		<-g.Ended()
	}), "/guest")
	require.NoError(t, b.SetName(`a "web" \ server`))
	m := buildFrom(t, b)
	id := regexp.MustCompile(`id="(\d+)"`).FindSubmatch(m.Metrics())
	require.NotNil(t, id)
	require.NoError(t, m.Start(t.Context()))
	expect(t, m, "hog")
	for {
		e, err := m.NextEvent(bounded(t))
		require.NoError(t, err)
		if e.Type == vm.EventOOM {
			break
		}
	}

	labels := fmt.Sprintf(`id="%s",vm="a \"web\" \\ server"`, id[1])
	values := parse(t, m.Metrics())
	require.Equal(t, "1", values[`capsa_vm_state{`+labels+`,state="running"}`])
	require.Equal(t, "0", values[`capsa_vm_state{`+labels+`,state="created"}`])
	require.Equal(t, "1", values[`capsa_vm_oom_kills_total{`+labels+`}`])
	require.Equal(t, fmt.Sprint(vm.DefaultMemory), values[`capsa_vm_memory_bytes{`+labels+`}`])
	require.Equal(t, "1", values[`capsa_device_requests_total{`+labels+`,device="console"}`])
	require.Equal(t, "38", values[`capsa_device_bytes_total{`+labels+`,device="console",direction="in"}`])
	require.Contains(t, values, `capsa_vm_boot_seconds{`+labels+`,step="console_open"}`)
	require.NotContains(t, values, `capsa_vm_boot_seconds{`+labels+`,step="ended"}`)
	require.EqualValues(t, 1, m.Stats().OOMKills)

	other := buildFrom(t, builder(t, vmtest.NewFake(), vmtest.KernelSpin))
	all := parse(t, capsa.Metrics())
	states := 0
	for key, value := range all {
		if strings.HasPrefix(key, "capsa_vm_state{") && value == "1" {
			states++
		}
	}
	require.Equal(t, 2, states, "both machines are there")
	require.NoError(t, other.Close())
	require.NoError(t, m.Close())
	for key := range parse(t, capsa.Metrics()) {
		require.NotContains(t, key, labels, "a closed machine is gone")
	}
	values = parse(t, m.Metrics())
	require.Equal(t, "1", values[`capsa_vm_state{`+labels+`,state="stopped"}`], "but can be asked itself")
}
