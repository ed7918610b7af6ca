// Command typecheck checks the types of Go packages for another system although they, or
// what they import, use cgo there:
//
//	go run ./tests/darwin/typecheck -goarch amd64 ./internal/... ./cmd/...
//
// It asks go list for the packages as the target sees them, with cgo, which is then never
// run: no C compiler is needed. Every package is read from its source; function bodies
// are checked in the packages that were named. Types of C are taken on trust, so that
// code which uses a cgo package is checked against all of its Go API, and code that
// imports "C" itself only as far as it does not.
//
// It exits with 1 when it found mistakes, and with 2 when it could not look.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	t := target{}
	flag.StringVar(&t.os, "goos", "darwin", "operating system")
	flag.StringVar(&t.arch, "goarch", "arm64", "architecture")
	flag.BoolVar(&t.tests, "tests", false, "check tests too")
	flag.Parse()
	mistakes, err := t.check(flag.Args())
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "typecheck:", err)
		os.Exit(2)
	case len(mistakes) > 0:
		for _, m := range mistakes {
			fmt.Fprintln(os.Stderr, m)
		}
		fmt.Fprintf(os.Stderr, "typecheck: %d mistakes for %s/%s\n", len(mistakes), t.os, t.arch)
		os.Exit(1)
	}
}

// target is what to check for.
type target struct {
	os, arch string
	tests    bool
}

// pkg is what go list says about a package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	CgoFiles   []string
	ImportMap  map[string]string
	DepOnly    bool
	Module     *struct{ GoVersion string }
	Error      *struct{ Err string }
}

// check returns all mistakes in the packages, a line each.
func (t target) check(patterns []string) ([]string, error) {
	list, err := t.list(patterns)
	if err != nil {
		return nil, err
	}
	c := &checker{
		fset: token.NewFileSet(), done: map[string]*types.Package{"unsafe": types.Unsafe}, sizes: types.SizesFor("gc", t.arch),
	}
	named := 0
	for dec := json.NewDecoder(bytes.NewReader(list)); ; { // dependencies come before those who import them
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if p.ImportPath == "unsafe" || strings.HasSuffix(p.ImportPath, ".test") {
			continue
		}
		if !p.DepOnly {
			named++
		}
		c.check(&p)
	}
	if named == 0 {
		return nil, fmt.Errorf("%s match no packages", strings.Join(patterns, " "))
	}
	return c.mistakes, nil
}

// list is the graph of packages.
func (t target) list(patterns []string) ([]byte, error) {
	args := []string{"list", "-e", "-deps", "-json=ImportPath,Dir,GoFiles,CgoFiles,ImportMap,DepOnly,Module,Error"}
	if t.tests {
		args = append(args, "-test")
	}
	cmd := exec.Command("go", append(append(args, "--"), patterns...)...)
	cmd.Env = append(os.Environ(), "GOOS="+t.os, "GOARCH="+t.arch, "CGO_ENABLED=1", "GOFLAGS=-mod=readonly")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return out, nil
}

// checker checks packages one after the other.
type checker struct {
	fset     *token.FileSet
	done     map[string]*types.Package
	sizes    types.Sizes
	mistakes []string
}

func (c *checker) check(p *pkg) {
	report := func(err error) {
		if !p.DepOnly && !strings.Contains(err.Error(), "invalid type") { // a type of C
			c.mistakes = append(c.mistakes, relative(err.Error()))
		}
	}
	if p.Error != nil {
		report(fmt.Errorf("%s: %s", p.ImportPath, p.Error.Err))
	}
	conf := types.Config{
		FakeImportC: true, IgnoreFuncBodies: p.DepOnly, Sizes: c.sizes, Error: report,
		Importer: importer(func(path string) (*types.Package, error) {
			if as, mapped := p.ImportMap[path]; mapped {
				path = as
			}
			if known := c.done[path]; known != nil {
				return known, nil
			}
			return nil, fmt.Errorf("%s is not among the packages", path)
		}),
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		conf.GoVersion = "go" + p.Module.GoVersion
	}
	path, _, _ := strings.Cut(p.ImportPath, " ") // "a [a.test]": with its tests
	c.done[p.ImportPath], _ = conf.Check(path, c.fset, c.parse(p, report), nil)
}

func (c *checker) parse(p *pkg, report func(error)) (files []*ast.File) {
	for _, name := range append(append([]string{}, p.GoFiles...), p.CgoFiles...) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(p.Dir, name)
		}
		f, err := parser.ParseFile(c.fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			report(err)
		}
		if f != nil {
			files = append(files, f)
		}
	}
	return files
}

// relative shortens paths in a message.
func relative(s string) string {
	if wd, err := os.Getwd(); err == nil {
		s = strings.TrimPrefix(s, wd+string(filepath.Separator))
	}
	return s
}

type importer func(string) (*types.Package, error)

// Import implements types.Importer.
func (f importer) Import(path string) (*types.Package, error) { return f(path) }
