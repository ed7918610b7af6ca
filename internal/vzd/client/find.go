package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/libcapsa/libcapsa/internal/vm"
	"golang.org/x/sys/unix"
)

const (
	// Program is the name of the daemon's file.
	Program = "capsa-vzd"
	// PathEnv is the environment variable that names the file.
	PathEnv = "CAPSA_VZD_PATH"

	opFind    = "find daemon"
	component = "vzd"
)

// places is where a daemon is looked for.
type places struct {
	env     string   // of PathEnv
	dirs    []string // the library's, the program's
	path    string   // of PATH
	trusted bool     // the environment is the user's own: no privileges were gained by executing the program
}

// Find returns the path of the daemon: what CAPSA_VZD_PATH says, or the first of
// the directories of the library and of the program and those of PATH that has it.
// A variable that is set and names nothing usable is an error. The error is of
// KindUnavailable and names every place.
func Find() (string, error) { return here().find() }

// here is this process's.
func here() places {
	p := places{env: os.Getenv(PathEnv), path: os.Getenv("PATH"), trusted: trusted()}
	if own := libraryPath(); own != "" {
		p.dirs = append(p.dirs, filepath.Dir(own))
	}
	if exe, err := os.Executable(); err == nil {
		dir := filepath.Dir(exe)
		p.dirs = append(p.dirs, dir)
		if filepath.Base(dir) == "bin" { // installed: the daemon is where the library is
			p.dirs = append(p.dirs, filepath.Join(filepath.Dir(dir), "lib"))
		}
	}
	return p
}

func (p places) find() (string, error) {
	if p.env != "" && p.trusted {
		if err := usable(p.env); err != nil {
			return "", vm.Errorf(vm.KindUnavailable, opFind, "%s is set, but %w", PathEnv, err).WithComponent(component).
				WithPath(p.env).WithHint("set " + PathEnv + " to the daemon's file, or unset it")
		}
		return p.env, nil
	}
	var tried []string
	for _, dir := range p.search() {
		file := filepath.Join(dir, Program)
		err := usable(file)
		if err == nil {
			return file, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			tried = append(tried, file)
		} else {
			tried = append(tried, err.Error())
		}
	}
	return "", vm.Errorf(vm.KindUnavailable, opFind, "%s is in none of the places where it could be: %s", Program, strings.Join(tried, ", ")).
		WithComponent(component).WithHint("install it beside the library, or set " + PathEnv)
}

// search are the directories, in order, each once. Relative ones of PATH do not
// count: whoever writes to the working directory could start programs.
func (p places) search() []string {
	dirs := slices.Clone(p.dirs)
	if p.trusted {
		for _, dir := range filepath.SplitList(p.path) {
			if filepath.IsAbs(dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	var once []string
	for _, dir := range dirs {
		if !slices.Contains(once, dir) {
			once = append(once, dir)
		}
	}
	return once
}

// usable says why a file cannot be started, or nil.
func usable(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file", file)
	}
	if err := unix.Access(file, unix.X_OK); err != nil {
		return fmt.Errorf("%s cannot be executed: %w", file, err)
	}
	return nil
}
