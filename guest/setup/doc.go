// Package setup makes a guest out of a kernel: what process 1 does before and after it
// has the host's configuration, and at the end. It is the agent's when that is process 1.
package setup
