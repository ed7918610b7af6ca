//go:build darwin && (cgo || vzstub)

package main

import (
	"os"

	"github.com/libcapsa/libcapsa/internal/vz"
	"github.com/libcapsa/libcapsa/internal/vz/framework"
	"github.com/libcapsa/libcapsa/internal/vzd"
	"github.com/libcapsa/libcapsa/internal/vzd/daemon"
)

// run needs no jail: the framework runs guests in a confined process of its own.
func run(args []string) int {
	return daemon.Run(args, vz.New(framework.New()), vzd.Options{}, os.Stderr)
}
