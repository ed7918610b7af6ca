// Command noop is an empty Go library: the least that a call from C into Go costs.
package main

import "C"

//export noop
func noop(uintptr) int32 { return 0 }

func main() {}
