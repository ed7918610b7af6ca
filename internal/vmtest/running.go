package vmtest

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// ends is the test of a guest that ends by itself.
func ends(cause vm.Cause) func(*run) {
	return func(r *run) {
		r.start()
		r.wait("end", r.m.Done())
		exit := r.m.Exit()
		require.Equal(r, cause, exit.Cause, "%v; console:\n%s", exit, r.out)
		require.Positive(r, exit.Uptime)
		require.NoError(r, exit.Err, "the machine did not fail")
		r.kill(vm.CauseKilled)
		require.Equal(r, exit, r.m.Exit(), "a kill after the end changes nothing")
	}
}

func testPanic(r *run) {
	ends(vm.CausePanic)(r)
	require.Contains(r, r.m.Exit().PanicText, "Kernel panic")
	require.Contains(r, r.out.String(), "Kernel panic - not syncing", "the text reaches the host's writers")
}

func testPowerButton(r *run) {
	r.start()
	r.expectOutput(r.suite.guests.PoliteText)
	require.NoError(r, r.m.PowerButton())
	r.wait("end", r.m.Done())
	require.Equal(r, vm.CauseGuestShutdown, r.m.Exit().Cause)
}

func testOutput(r *run) {
	r.start()
	r.expectOutput(r.suite.guests.PrintText)
	require.Positive(r, r.m.Stats().Timeline.ConsoleOpen)
}

// echo types text and waits for the echo.
func (r *run) echo(text string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), r.suite.guests.Patience)
	defer cancel()
	n, err := r.input.Write(ctx, []byte(text))
	require.NoError(r, err)
	require.Equal(r, len(text), n)
	r.expectOutput(strings.TrimSpace(text))
}

// listening starts the echo guest and waits until it listens.
func (r *run) listening() {
	r.Helper()
	r.start()
	r.expectOutput(r.suite.guests.EchoText)
}

func testInput(r *run) {
	r.listening()
	r.echo("first line\n")
	r.echo("second line\n")
}

// testInputBulk types more than the pipe holds, in lines that a terminal takes.
func testInputBulk(r *run) {
	r.listening()
	line := strings.Repeat("x", 63) + "\n"
	r.echo(strings.Repeat(line, 2*vm.DefaultPipeSize/len(line)) + "the end\n")
}

// testPausedOutput: what is typed while paused is answered after the resume and
// not before.
func testPausedOutput(r *run) {
	r.listening()
	r.echo("before\n")
	require.NoError(r, r.m.Pause())
	quiet := r.out.Len()
	_, err := r.input.Write(r.Context(), []byte("meanwhile\n"))
	require.NoError(r, err)
	require.Equal(r, quiet, r.out.Len(), "a paused guest printed")
	require.NoError(r, r.m.Resume())
	r.expectOutput("meanwhile")
}

func testTwoMachines(r *run) {
	other := r.another()
	r.listening()
	other.listening()
	r.echo("to the first\n")
	other.echo("to the second\n")
	require.NotContains(r, r.out.String(), "second")
	require.NotContains(r, other.out.String(), "first")
	r.kill(vm.CauseKilled)
	other.echo("still there\n")
}

func testStats(r *run) {
	r.listening()
	r.echo("count me\n")
	stats := r.m.Stats()
	require.Positive(r, stats.Timeline.Created)
	require.GreaterOrEqual(r, stats.Timeline.Started, stats.Timeline.Created)
	require.Positive(r, stats.Timeline.ConsoleOpen)
	if r.has(vm.FeatureExitStats) {
		require.NotEmpty(r, stats.Exits)
	}
	names := map[string]vm.DeviceStats{}
	for _, d := range stats.Devices {
		names[d.Name] = d
	}
	require.Contains(r, names, "console")
	require.Positive(r, names["console"].Requests)
}

// testMemoryTarget: what is asked for is remembered, before the start as well, and
// what cannot be changes nothing.
func testMemoryTarget(r *run) {
	caps, err := r.suite.backend.Capabilities()
	require.NoError(r, err)
	if !caps.Has(vm.FeatureBalloon) {
		r.refused(vm.KindUnsupported, "memory target", r.m.SetMemoryTarget(0))
		require.Nil(r, r.m.Stats().Balloon)
		return
	}
	target := func() uint64 {
		r.Helper()
		require.NotNil(r, r.m.Stats().Balloon)
		return r.m.Stats().Balloon.Target
	}
	full := r.cfg.Memory
	require.Equal(r, full, target())
	require.NoError(r, r.m.SetMemoryTarget(full/2))
	require.Equal(r, full/2, target())
	r.start()
	for _, bytes := range []uint64{full, full - vm.MiB, vm.MiB} {
		require.NoError(r, r.m.SetMemoryTarget(bytes))
		require.Equal(r, bytes, target())
	}
	for _, bytes := range []uint64{full + 1, 1<<64 - 1} {
		r.refused(vm.KindInvalidArg, "more than there is", r.m.SetMemoryTarget(bytes))
		require.Equal(r, vm.MiB, target())
	}
	require.NoError(r, r.m.Pause())
	require.NoError(r, r.m.SetMemoryTarget(0))
	require.Equal(r, full, target())
	r.kill(vm.CauseKilled)
	require.NoError(r, r.m.Close())
	require.Zero(r, r.m.Stats().Resident)
}

func testNoBalloon(r *run) {
	r.cfg.Balloon.Off = true
	other := r.another()
	other.start()
	r.refused(vm.KindUnsupported, "memory target", other.m.SetMemoryTarget(r.cfg.Memory/2))
	require.Nil(r, other.m.Stats().Balloon)
}

// testNilHost: a caller that lends nothing.
func testNilHost(r *run) {
	m, err := r.suite.backend.New(r.cfg.Clone(), vm.Host{})
	require.NoError(r, err)
	r.Cleanup(func() { require.NoError(r, m.Close()) })
	require.NoError(r, m.Start())
	r.wait("end", m.Done())
	require.Equal(r, vm.CauseGuestShutdown, m.Exit().Cause)
}

// testBadConfigs: New checks for itself, and leaves nothing behind.
func testBadConfigs(r *run) {
	caps, err := r.suite.backend.Capabilities()
	require.NoError(r, err)
	tests := []struct {
		name   string
		kinds  []vm.Kind
		change func(*vm.Config)
	}{
		{"no cpu", []vm.Kind{vm.KindConfig}, func(c *vm.Config) { c.CPUs = 0 }},
		{"too many cpus", []vm.Kind{vm.KindLimit}, func(c *vm.Config) { c.CPUs = caps.MaxCPUs + 1 }},
		{"no memory", []vm.Kind{vm.KindConfig}, func(c *vm.Config) { c.Memory = 0 }},
		{"odd memory", []vm.Kind{vm.KindConfig}, func(c *vm.Config) { c.Memory++ }},
		{"no kernel", []vm.Kind{vm.KindConfig}, func(c *vm.Config) { c.Boot.Kernel = "" }},
		{"missing kernel", []vm.Kind{vm.KindNotFound}, func(c *vm.Config) { c.Boot.Kernel = "/does/not/exist" }},
	}
	for _, test := range tests {
		r.Run(test.name, func(t *testing.T) {
			cfg := r.cfg.Clone()
			test.change(&cfg)
			m, err := r.suite.backend.New(cfg, vm.Host{})
			require.Error(t, err)
			require.Nil(t, m)
			require.Contains(t, test.kinds, vm.KindOf(err), "%v", err)
		})
	}
}
