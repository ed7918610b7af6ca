//go:build !(linux && amd64) && !(darwin && (cgo || vzstub))

package main

import (
	"fmt"
	"os"
	"runtime"
)

func run([]string) int {
	fmt.Fprintf(os.Stderr, "capsa-vzd has no backend for %s/%s\n", runtime.GOOS, runtime.GOARCH)
	return 1
}
