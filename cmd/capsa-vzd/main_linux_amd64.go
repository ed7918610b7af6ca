package main

import (
	"os"

	"github.com/libcapsa/libcapsa/internal/kvm"
	"github.com/libcapsa/libcapsa/internal/vzd"
	"github.com/libcapsa/libcapsa/internal/vzd/daemon"
)

func run(args []string) int { return daemon.Run(args, kvm.New(), vzd.Options{}, os.Stderr) }
