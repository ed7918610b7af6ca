package capsa_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// The life of a machine. (This example runs on a backend made for tests; without
// UseBackend it would run under KVM.)
func Example() {
	b := capsa.NewBuilder()
	b.UseBackend(vmtest.NewFake())
	if err := errors.Join(
		b.SetName("demo"),
		b.SetKernel(vmtest.KernelPolite),
		b.SetCPUs(2),
		b.SetMemoryMiB(512),
		b.AddArg("quiet"),
	); err != nil {
		fmt.Println(err)
		return
	}
	m, err := b.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = m.Close() }()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := m.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := m.Console().NewReader().Expect(ctx, []capsa.Pattern{capsa.Literal("ready")}); err != nil {
		fmt.Println(err)
		return
	}
	stage, err := m.Stop(ctx, 10*time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	exit, err := m.Wait(ctx)
	fmt.Println(stage, "-", exit.Cause, "-", err)
	// Output: power button - stopped - <nil>
}

// Everything that is wrong is said at once.
func ExampleBuilder_Build() {
	b, err := capsa.FromJSON([]byte(`{"name": "web", "cpus": 0, "memory_mib": 0, "boot": {"args": ["quiet"], "cmdline": "quiet"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	b.UseBackend(vmtest.NewFake())
	_, err = b.Build()
	var e *capsa.Error
	if errors.As(err, &e) {
		fmt.Println(e.Kind)
		for _, p := range e.Problems {
			fmt.Println("-", p.Field+":", p.Message)
		}
	}
	// Output:
	// invalid configuration
	// - boot.kernel: no kernel is given
	// - boot.cmdline: the whole command line is given, and 1 arguments too
	// - cpus: 0 is too few; a machine needs at least 1
	// - memory_mib: no memory is given
}

// A guest that does not come up is an error that has the end of its console.
func ExampleVM_Wait() {
	b := capsa.NewBuilder()
	b.UseBackend(vmtest.NewFake())
	if err := b.SetKernel(vmtest.KernelNoRoot); err != nil {
		fmt.Println(err)
		return
	}
	m, err := b.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = m.Close() }()
	if err := m.Start(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	exit, err := m.Wait(context.Background())
	fmt.Println(exit.Cause)
	var e *capsa.Error
	if errors.Is(err, capsa.KindBoot) && errors.As(err, &e) {
		fmt.Println("hint:", e.Hint)
		fmt.Printf("%s", e.ConsoleTail)
	}
	// Output:
	// boot failed
	// hint: give an initrd, or a root= argument that names a disk for which the kernel has a driver
	// [    0.1] Linux version 6.12
	// [    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
}

// What works on this host, and how to fix what does not.
func ExampleDoctor() {
	_ = json.NewEncoder(os.Stdout).Encode(capsa.Doctor())
}
