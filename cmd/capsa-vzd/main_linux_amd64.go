package main

import (
	"os"

	"github.com/libcapsa/libcapsa/internal/kvm"
	"github.com/libcapsa/libcapsa/internal/vzd/daemon"
	"github.com/libcapsa/libcapsa/internal/vzd/jail"
)

func run(args []string) int { return daemon.Run(args, kvm.New(), jail.Options(), os.Stderr) }
