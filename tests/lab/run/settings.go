//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// config is what the environment says; README.md lists the variables.
type config struct {
	timeout  time.Duration
	memory   int // MiB
	cpus     int
	tries    int // machines to try when one is lost
	writable []string
	qemu     string
	machine  string
	cpu      string
	thread   string
	kernel   string
	initrd   string
	append   string
	console  string // file for the kernel's log, "" for none
	force    bool
}

func settings() (config, error) {
	c := config{
		qemu:    env("LAB_QEMU", "qemu-system-x86_64"),
		machine: env("LAB_MACHINE", "microvm"),
		// TCG has neither of the two features left out; the model implies SVM and
		// nested paging.
		cpu:     env("LAB_CPU", "EPYC,-nrip-save,-xsavec"),
		thread:  env("LAB_THREAD", "multi"),
		kernel:  os.Getenv("LAB_KERNEL"),
		initrd:  os.Getenv("LAB_INITRD"),
		append:  os.Getenv("LAB_APPEND"),
		console: os.Getenv("LAB_CONSOLE"),
		force:   os.Getenv("LAB_FORCE") != "",
	}
	seconds, err := number("LAB_TIMEOUT", 600)
	if err != nil {
		return c, err
	}
	c.timeout = time.Duration(seconds) * time.Second
	if c.memory, err = number("LAB_MEM", 2048); err != nil {
		return c, err
	}
	if c.tries, err = number("LAB_TRIES", 1); err != nil {
		return c, err
	}
	if c.cpus, err = number("LAB_CPUS", 1); err != nil {
		return c, err
	}
	for _, d := range strings.Split(os.Getenv("LAB_RW"), ":") {
		if d == "" {
			continue
		}
		if d, err = filepath.Abs(d); err != nil {
			return c, err
		}
		if info, err := os.Stat(d); err != nil || !info.IsDir() {
			return c, fmt.Errorf("LAB_RW: %s is not a directory", d)
		}
		c.writable = append(c.writable, d)
	}
	if c.kernel == "" || c.initrd == "" {
		return c, fmt.Errorf("LAB_KERNEL and LAB_INITRD name the machine's images; the script tests/lab/lab-run sets them")
	}
	return c, nil
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func number(name string, otherwise int) (int, error) {
	s := env(name, strconv.Itoa(otherwise))
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s=%s is not a positive number", name, s)
	}
	return n, nil
}
