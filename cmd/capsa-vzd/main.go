// Command capsa-vzd runs one virtual machine in a process of its own. libcapsa starts
// it; it is of no use by hand. See package internal/vzd.
package main

import "os"

func main() { os.Exit(run(os.Args[1:])) }
