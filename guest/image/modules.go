package image

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

// Modules is the set of a kernel's loadable modules, found below one directory
// (the kernel/ tree of /lib/modules/VERSION or of an unpacked package). It
// needs no modules.dep: dependencies are read from the modules themselves.
type Modules struct {
	byName map[string]string // module name -> file
}

// Module is one module file.
type Module struct {
	Name string // as the kernel calls it, with underscores
	Path string // on the host
}

// OpenModules finds the modules below dir. Only uncompressed modules (.ko) are
// understood; a tree without any is an error.
func OpenModules(dir string) (*Modules, error) {
	m := &Modules{byName: map[string]string{}}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && strings.HasSuffix(p, ".ko") {
			m.byName[moduleName(p)] = p
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(m.byName) == 0 {
		return nil, fmt.Errorf("%s: no kernel modules (.ko) there", dir)
	}
	return m, nil
}

// Has says whether a module is there.
func (m *Modules) Has(name string) bool {
	_, ok := m.byName[strings.ReplaceAll(name, "-", "_")]
	return ok
}

// Resolve returns the named modules and all they depend on, each once and after
// its dependencies: the order in which they can be loaded.
func (m *Modules) Resolve(names ...string) ([]Module, error) {
	var order []Module
	state := map[string]int{} // 1: being visited, 2: done
	var visit func(name, wantedBy string) error
	visit = func(name, wantedBy string) error {
		name = strings.ReplaceAll(name, "-", "_")
		switch state[name] {
		case 1:
			return fmt.Errorf("module %s depends on itself", name)
		case 2:
			return nil
		}
		state[name] = 1
		file, ok := m.byName[name]
		if !ok {
			if wantedBy != "" {
				return fmt.Errorf("module %s, which %s needs, is not there", name, wantedBy)
			}
			return fmt.Errorf("module %s is not there", name)
		}
		deps, err := dependencies(file)
		if err != nil {
			return err
		}
		for _, d := range deps {
			if err := visit(d, name); err != nil {
				return err
			}
		}
		state[name] = 2
		order = append(order, Module{Name: name, Path: file})
		return nil
	}
	for _, n := range names {
		if err := visit(n, ""); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// dependencies reads the "depends" entry of a module's .modinfo section.
func dependencies(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	defer f.Close()
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("%s: no .modinfo section", file)
	}
	b, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return parseDepends(b), nil
}

// parseDepends returns the modules of "depends=a,b" in a .modinfo section,
// which is a sequence of NUL-terminated key=value strings.
func parseDepends(modinfo []byte) []string {
	for _, kv := range strings.Split(string(modinfo), "\x00") {
		if list, ok := strings.CutPrefix(kv, "depends="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}

func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(file), ".ko"), "-", "_")
}
