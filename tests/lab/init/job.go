//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/tests/lab/wire"
)

// Exit statuses of a shell for a command that could not be started.
const (
	statusNotRunnable = 126
	statusNotFound    = 127
)

// runJob receives the job, runs it and returns how it ended, with all its
// output delivered to the ports.
func runJob(ports map[int]*os.File) (wire.Exit, error) {
	in := wire.NewDecoder(ports[wire.Ctl])
	var first wire.ToGuest
	if err := in.Next(&first); err != nil {
		return wire.Exit{}, fmt.Errorf("receiving the job: %w", err)
	}
	if first.Job == nil || len(first.Job.Args) == 0 {
		return wire.Exit{}, errors.New("the first message holds no job")
	}
	job := *first.Job
	if err := mountWritable(job.Writable); err != nil {
		return wire.Exit{}, err
	}
	// From here on the job's world is ours: paths mean the same.
	if err := unix.Chroot("/root"); err != nil {
		return wire.Exit{}, fmt.Errorf("chroot: %w", err)
	}
	return start(job, ports, in)
}

// stream pairs a pipe's end that the job has with the one that stays here.
type stream struct{ job, ours *os.File }

// start runs the job with pipes as its standard files.
func start(job wire.Job, ports map[int]*os.File, in *wire.Decoder) (wire.Exit, error) {
	var s [3]stream
	for i := range s {
		r, w, err := os.Pipe()
		if err != nil {
			return wire.Exit{}, err
		}
		s[i] = stream{job: w, ours: r}
		if i == 0 {
			s[i] = stream{job: r, ours: w}
		}
	}
	process, err := spawn(job, s)
	for _, x := range s {
		x.job.Close()
	}
	if err != nil {
		return notStarted(job, err, ports)
	}
	go func() { // ends with the machine
		// A reader that went away is the job's own affair.
		_ = wire.ReceiveInput(s[0].ours, ports[wire.Input])
		s[0].ours.Close()
	}()
	go forwardSignals(process.Pid, in) // ends with the machine
	var exit wire.Exit
	var pumps sync.WaitGroup
	var pumpErr [2]error
	pumps.Go(func() { exit.Output, pumpErr[0] = io.Copy(onlyWriter{ports[wire.Output]}, s[1].ours) })
	pumps.Go(func() { exit.Error, pumpErr[1] = io.Copy(onlyWriter{ports[wire.Error]}, s[2].ours) })
	if exit.Status, err = reap(process.Pid); err != nil {
		return exit, err
	}
	// What the job left behind would hold the pipes open. Process 1 and its
	// threads are not among the receivers.
	_ = unix.Kill(-1, unix.SIGKILL)
	pumps.Wait()
	return exit, errors.Join(pumpErr[:]...)
}

// onlyWriter hides the file's other methods: splice does not work on ports.
type onlyWriter struct{ io.Writer }

// spawn starts the job's process, in a session of its own.
func spawn(job wire.Job, s [3]stream) (*os.Process, error) {
	file, err := lookup(job)
	if err != nil {
		return nil, err
	}
	return os.StartProcess(file, job.Args, &os.ProcAttr{
		Dir:   job.Dir,
		Env:   job.Env,
		Files: []*os.File{s[0].job, s[1].job, s[2].job},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// lookup finds the job's command the way its shell would: by its PATH, and
// relative to its directory.
func lookup(job wire.Job) (string, error) {
	name := job.Args[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range job.Env {
		list, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			file := filepath.Join(dir, name)
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return file, nil
			}
		}
	}
	return "", &os.PathError{Op: "lookup", Path: name, Err: exec.ErrNotFound}
}

// notStarted reports a command that could not be started as a shell would.
func notStarted(job wire.Job, err error, ports map[int]*os.File) (wire.Exit, error) {
	exit := wire.Exit{Status: statusNotRunnable}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		exit.Status = statusNotFound
	}
	n, werr := fmt.Fprintf(ports[wire.Error], "lab-run: %s: %v\n", job.Args[0], err)
	exit.Error = int64(n)
	return exit, werr
}

// forwardSignals sends the signals that the host passes on to the job's group.
func forwardSignals(pid int, in *wire.Decoder) {
	for {
		var m wire.ToGuest
		if in.Next(&m) != nil {
			return
		}
		if m.Signal > 0 {
			// The group may have ended meanwhile.
			_ = unix.Kill(-pid, unix.Signal(m.Signal))
		}
	}
}

// reap waits for children until pid has ended, and returns its status.
// Orphans become children of process 1 and are buried on the way.
func reap(pid int) (int32, error) {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait4: %w", err)
		case got == pid && ws.Signaled():
			return 128 + int32(ws.Signal()), nil
		case got == pid && ws.Exited():
			return int32(ws.ExitStatus()), nil
		}
	}
}
