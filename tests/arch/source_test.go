package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// maxLines is the size limit of a source file.
const maxLines = 600

// library are the folders whose code runs inside somebody else's process.
var library = []string{"libcapsa", "capsa", "internal"}

// forbiddenImports are packages that library code never imports, with the reason.
var forbiddenImports = map[string]string{
	"log":       "a library does not write to stderr",
	"os/signal": "a library installs no signal handlers",
	"flag":      "a library has no command line",
	"plugin":    "nothing is loaded at run time",
}

// forbiddenNames are names of imported packages that library code never uses.
var forbiddenNames = map[string]map[string]string{
	"os": {
		"Exit": "never exit the caller's process", "Stdout": "not ours to write to", "Stderr": "not ours to write to",
		"Stdin": "not ours to read", "Chdir": "changes the caller's process", "Setenv": "changes the caller's process",
		"Unsetenv": "changes the caller's process", "Clearenv": "changes the caller's process",
	},
	"fmt": {
		"Print": "not ours to write to", "Printf": "not ours to write to", "Println": "not ours to write to",
	},
	"time": {
		"Sleep": "wait for an event", "Tick": "wait for an event", "NewTicker": "nothing polls on a timer",
	},
	"syscall": {
		"Exit": "never exit the caller's process", "Umask": "changes the caller's process", "Chdir": "changes the caller's process",
	},
	"golang.org/x/sys/unix": {
		"Exit": "never exit the caller's process", "Umask": "changes the caller's process", "Chdir": "changes the caller's process",
	},
}

// file is one Go source file.
type file struct {
	path string // inside the module, with slashes
	set  *token.FileSet
	ast  *ast.File
	text []byte
}

func (f file) folder() string { return filepath.ToSlash(filepath.Dir(f.path)) }
func (f file) isTest() bool   { return strings.HasSuffix(f.path, "_test.go") }
func (f file) isUnsafe() bool { return strings.HasSuffix(f.path, "_unsafe.go") }

func (f file) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", f.path, f.set.Position(pos).Line)
}

// isLibrary: product code that runs in the caller's process.
func (f file) isLibrary() bool {
	return !f.isTest() && in(f.folder(), library) && !in(f.folder(), kits) && !in(f.folder(), program)
}

// imported returns the import path of a file's package name, or "".
func (f file) imported(name string) string {
	for _, spec := range f.ast.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		local := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == name {
			return path
		}
	}
	return ""
}

// walk calls fn for every file of the module that a person wrote.
func walk(t *testing.T, fn func(path string, text []byte)) {
	t.Helper()
	top := root(t)
	require.NoError(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			hidden := strings.HasPrefix(name, ".") && path != top
			if hidden || slices.Contains([]string{"build", "testdata", "node_modules", "target"}, name) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		fn(filepath.ToSlash(rel), text)
		return nil
	}))
}

// goFiles returns every Go file of the module, for all platforms.
func goFiles(t *testing.T) []file {
	t.Helper()
	var files []file
	walk(t, func(path string, text []byte) {
		if !strings.HasSuffix(path, ".go") {
			return
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, path, text, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, file{path: path, set: set, ast: parsed, text: text})
	})
	require.NotEmpty(t, files)
	return files
}

func TestLibraryManners(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		if !f.isLibrary() {
			continue
		}
		for _, spec := range f.ast.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			if why := forbiddenImports[path]; why != "" {
				t.Errorf("%s imports %s: %s", f.at(spec.Pos()), path, why)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if why := manners(f, n); why != "" {
				t.Errorf("%s: %s", f.at(n.Pos()), why)
			}
			return true
		})
	}
}

// manners says what is wrong with a piece of library code, or "".
func manners(f file, n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		if f.folder() != "internal/safe" {
			return "a bare go statement: safe.Go contains panics"
		}
	case *ast.CallExpr:
		name, ok := n.Fun.(*ast.Ident)
		switch {
		case ok && (name.Name == "print" || name.Name == "println"):
			return name.Name + " writes to stderr"
		case ok && name.Name == "panic" && !startsWithBug(n.Args[0]):
			return `panic is for bugs of the host, and says so: its text begins with "BUG: "`
		}
	case *ast.SelectorExpr:
		name, ok := n.X.(*ast.Ident)
		if !ok {
			return ""
		}
		path := f.imported(name.Name)
		if why := forbiddenNames[path][n.Sel.Name]; why != "" {
			return name.Name + "." + n.Sel.Name + ": " + why
		}
		if path == "runtime" && n.Sel.Name == "GOOS" && in(f.folder(), []string{"capsa", "internal/vm"}) {
			return "runtime.GOOS: what differs between platforms is the backend's"
		}
	}
	return ""
}

// startsWithBug says whether the first text in an expression begins with "BUG: ".
func startsWithBug(e ast.Expr) bool {
	first := ""
	ast.Inspect(e, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && first == "" {
			first, _ = strconv.Unquote(lit.Value)
		}
		return first == ""
	})
	return strings.HasPrefix(first, "BUG: ")
}

// TestUnsafe: unsafe stands in *_unsafe.go and in the C border, and every
// function that uses it says why that is safe.
func TestUnsafe(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		if f.isTest() || f.imported("unsafe") == "" && f.imported("C") == "" {
			continue
		}
		if f.imported("C") != "" && !in(f.folder(), cgo) {
			t.Errorf("%s: import \"C\" outside of %v", f.path, cgo)
		}
		if f.imported("unsafe") == "" {
			continue
		}
		if !f.isUnsafe() && !in(f.folder(), cgo) && !strings.HasSuffix(f.path, generated) {
			t.Errorf("%s: unsafe belongs into a file named *_unsafe.go", f.path)
			continue
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if ok && f.isUnsafe() && usesUnsafe(fn) && !explained(f, fn) {
				t.Errorf("%s: uses unsafe without a SAFETY: comment", f.at(fn.Pos()))
			}
		}
	}
}

// usesUnsafe: a conversion or an operation, not a mere size or offset.
func usesUnsafe(fn *ast.FuncDecl) bool {
	used := false
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "unsafe" && !slices.Contains([]string{"Sizeof", "Offsetof", "Alignof"}, s.Sel.Name) {
				used = true
			}
		}
		return !used
	})
	return used
}

// explained: in the function or in its comment.
func explained(f file, fn *ast.FuncDecl) bool {
	begin := fn.Pos()
	if fn.Doc != nil {
		begin = fn.Doc.Pos()
	}
	text := f.text[f.set.Position(begin).Offset:f.set.Position(fn.End()).Offset]
	return bytes.Contains(text, []byte("SAFETY:"))
}

// TestContractIsEverywhere: the contract is the same on every platform.
func TestContractIsEverywhere(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		if !in(f.folder(), []string{"internal/vm"}) || f.isTest() {
			continue
		}
		if bytes.Contains(f.text, []byte("\n//go:build ")) || bytes.HasPrefix(f.text, []byte("//go:build ")) {
			t.Errorf("%s has a build tag", f.path)
		}
		for _, platform := range platforms {
			for _, suffix := range []string{"_" + platform.os + ".go", "_" + platform.arch + ".go"} {
				if strings.HasSuffix(f.path, suffix) {
					t.Errorf("%s is for one platform only", f.path)
				}
			}
		}
	}
}

// TestFiles: size, and no work left for somebody unnamed.
func TestFiles(t *testing.T) {
	t.Parallel()
	sources := []string{".go", ".c", ".h", ".cpp", ".rs", ".py", ".js", ".ts", ".sh", ".mk"}
	walk(t, func(path string, text []byte) {
		if !slices.Contains(sources, filepath.Ext(path)) {
			return
		}
		lines := bytes.Count(text, []byte("\n"))
		if lines > maxLines && !exempt(path, text) {
			t.Errorf("%s has %d lines; at most %d", path, lines, maxLines)
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			for _, word := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:"} {
				if bytes.Contains(line, []byte(word)) {
					t.Errorf("%s:%d: %s", path, i+1, word)
				}
			}
		}
	})
}

// exempt from the size limit: generated files, tables, and the ABI's only definition.
func exempt(path string, text []byte) bool {
	head, _, _ := bytes.Cut(text, []byte("\npackage "))
	marked := bytes.Contains(head, []byte("// Code generated ")) || bytes.HasPrefix(text, []byte("# Code generated "))
	generated := marked && bytes.Contains(head, []byte(" DO NOT EDIT."))
	table := strings.HasSuffix(path, "_table.go") || strings.HasSuffix(path, "_tables.go")
	return generated || table || path == "include/capsa.h"
}
