package client

import (
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/self"
)

// trusted says whether the process gained no privileges when its program was
// executed (issetugid(2)).
func trusted() bool { return unix.Getuid() == unix.Geteuid() && unix.Getgid() == unix.Getegid() }

// libraryPath is the file of the shared library, or "" in a program that has this code
// in itself, whose directory has to do then.
func libraryPath() string { return self.Library() }
