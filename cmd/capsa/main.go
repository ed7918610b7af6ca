// Command capsa runs programs and kernels in small virtual machines.
package main

import (
	"os"

	"github.com/libcapsa/libcapsa/internal/cli"
)

func main() {
	app := cli.App{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	os.Exit(app.Main(os.Args[1:]))
}
