package wire

import "golang.org/x/sys/unix"

// Files are descriptors, which belong to whoever holds the value. They are plain
// numbers and not os.Files, which would change how a descriptor that another
// process shares behaves.
type Files []int

// Close closes all of them.
func (f Files) Close() {
	for _, fd := range f {
		_ = unix.Close(fd)
	}
}

// Take returns the descriptors if there are as many as wanted. Otherwise it closes
// them.
func (f Files) Take(want int) (Files, error) {
	if len(f) != want {
		f.Close()
		return nil, violation("%d descriptors; expected are %d", len(f), want)
	}
	return f, nil
}
