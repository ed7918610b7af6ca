package arch

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// listed is what go list says about a package.
type listed struct {
	ImportPath   string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	CgoFiles     []string
	Deps         []string
	Module       *struct{ Path string }
}

// folder is the path inside this module, or "" for packages of others.
func folder(importPath string) string {
	if rest, ok := strings.CutPrefix(importPath, module+"/"); ok {
		return rest
	}
	return ""
}

// in says whether a folder is one of these or below one; a name that ends in
// "." stands for itself alone.
func in(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		if alone, ok := strings.CutSuffix(f, "."); ok {
			return path == alone
		}
		return path == f || strings.HasPrefix(path, f+"/")
	})
}

// ruleFor returns the row for a folder.
func ruleFor(path string) (rule, bool) {
	var best rule
	found := false
	for _, r := range rules {
		if in(path, []string{r.folder}) && (!found || len(r.folder) > len(best.folder)) {
			best, found = r, true
		}
	}
	return best, found
}

// list returns all packages of the module and what they need, on one platform.
func list(t *testing.T, goos, goarch string) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports,TestImports,XTestImports,CgoFiles,Deps,Module", "./...")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=1", "GOFLAGS=-mod=readonly")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	packages := map[string]listed{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p listed
		require.NoError(t, dec.Decode(&p))
		packages[p.ImportPath] = p
	}
	return packages
}

// root is the module's folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	return dir
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, platform := range platforms {
		t.Run(platform.os+"/"+platform.arch, func(t *testing.T) {
			t.Parallel()
			packages := list(t, platform.os, platform.arch)
			seen := 0
			for path, p := range packages {
				if from := folder(path); from != "" {
					seen++
					for _, complaint := range check(from, p, packages) {
						t.Error(complaint)
					}
				}
			}
			require.NotZero(t, seen)
		})
	}
}

// check returns what a package imports against the rules.
func check(from string, p listed, packages map[string]listed) []string {
	r, ok := ruleFor(from)
	if !ok {
		return []string{from + ": no row in tests/arch/rules_test.go: the folder has no place in the architecture"}
	}
	var out []string
	for _, path := range p.Imports {
		if to := folder(path); to != "" {
			if why := forbidden(from, to, r); why != "" {
				out = append(out, from+" imports "+to+": "+why)
			}
			continue
		}
		if path == "C" || path == "unsafe" || packages[path].Standard {
			continue
		}
		if !in(path, r.third) {
			out = append(out, from+" imports "+path+": not among the modules of its row")
		}
	}
	for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
		if to := folder(path); in(to, tops) {
			out = append(out, "a test of "+from+" imports "+to+": nothing imports it")
		}
	}
	if len(p.CgoFiles) > 0 && !in(from, cgo) {
		out = append(out, from+" uses cgo: only "+strings.Join(cgo, " and ")+" may")
	}
	return out
}

// forbidden says why one package of this module may not import another, or "".
func forbidden(from, to string, r rule) string {
	switch {
	case in(to, tops):
		return "nothing imports it"
	case in(to, kits) && !in(from, kits):
		return "it is for tests"
	case in(to, r.own):
		return ""
	case in(to, []string{r.folder}) && !r.alone:
		return ""
	}
	return "not among the folders of its row"
}

// TestContractIsPlain: the contract needs the standard library alone, also
// through others, so that every backend and every platform can speak it.
func TestContractIsPlain(t *testing.T) {
	t.Parallel()
	for _, platform := range platforms {
		packages := list(t, platform.os, platform.arch)
		p, ok := packages[module+"/internal/vm"]
		require.True(t, ok)
		for _, dep := range p.Deps {
			require.True(t, packages[dep].Standard, "internal/vm depends on %s", dep)
		}
	}
}

// TestRules: the table contradicts itself nowhere.
func TestRules(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range rules {
		require.False(t, seen[r.folder], "two rows for %s", r.folder)
		seen[r.folder] = true
		for _, own := range r.own {
			require.False(t, in(strings.TrimSuffix(own, "."), tops), "%s may import %s", r.folder, own)
			_, known := ruleFor(strings.TrimSuffix(own, "."))
			require.True(t, known, "%s may import %s, which has no row", r.folder, own)
		}
	}
	for from, bad := range map[string]string{
		"internal/vm": "internal/safe", "internal/virtio/rng": "internal/virtio/console", "capsa": "internal/kvm",
		"internal/guestmem": "internal/kvm/kvmsys", "internal/kvm/kvmsys": "internal/vm", "internal/console": "internal/vm",
		"internal/kvm": "internal/vmtest", "tests/abi": "internal/vm", "guest/image": "internal/vm", "capsa/x": "libcapsa",
		"internal/net": "internal/virtio", "internal/vzd": "internal/kvm", "internal/backend": "internal/kvm/boot",
	} {
		r, ok := ruleFor(from)
		require.True(t, ok, from)
		require.NotEmpty(t, forbidden(from, bad, r), "%s must not import %s", from, bad)
	}
}
