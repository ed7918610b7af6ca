// Hello boots Linux, runs a command in its shell and ends with the command's exit status.
//
// usage: hello KERNEL INITRD COMMAND
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/libcapsa/libcapsa/capsa"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: hello KERNEL INITRD COMMAND")
		os.Exit(2)
	}
	status, err := run(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		var e *capsa.Error
		if errors.As(err, &e) && e.Hint != "" {
			fmt.Fprintln(os.Stderr, e.Hint)
		}
		os.Exit(125)
	}
	os.Exit(status)
}

func run(kernel, initrd, command string) (int, error) {
	b := capsa.NewBuilder()
	if err := errors.Join(b.SetKernel(kernel), b.SetInitrd(initrd), b.AddArg("quiet")); err != nil {
		return 0, err
	}
	m, err := b.Build()
	if err != nil {
		return 0, err
	}
	defer func() { _ = m.Close() }() // ends the machine

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := m.Start(ctx); err != nil {
		return 0, err
	}
	prompt := []capsa.Pattern{capsa.Literal("# ")}
	if _, err := m.Console().NewReader().Expect(ctx, prompt); err != nil {
		return 0, err
	}
	done, err := m.Console().Run(ctx, command)
	if err != nil {
		return 0, err
	}
	_, err = os.Stdout.Write(done.Output)
	return done.Status, err
}
