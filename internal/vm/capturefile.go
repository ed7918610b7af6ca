package vm

import "os"

// Open opens the file of a capture that has a path, and returns c with its descriptor
// in place of the path; of another one it returns c as it is, and nil. The caller closes
// the file once the machine has its copy.
func (c Capture) Open(op string) (Capture, *os.File, error) {
	if c.Path == "" {
		return c, nil, nil
	}
	f, err := os.OpenFile(c.Path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		e := Errorf(KindOf(err), op, "%w", err).WithPath(c.Path)
		if e.Kind == KindNotFound {
			e = e.WithHint("make the directory first")
		}
		return c, nil, e
	}
	c.Path, c.File = "", int(f.Fd())
	return c, f, nil
}
