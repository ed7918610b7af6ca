package vz

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// keepInitrd gives the initial file system a name of the machine's own: the framework
// reads it when the guest starts, and whoever made the machine may remove it before.
func (m *machine) keepInitrd(*Ends) error {
	boot, ok := m.plan.Boot.(plan.LinuxBoot)
	if !ok || boot.Initrd == "" {
		return nil
	}
	var unique [8]byte
	_, _ = rand.Read(unique[:]) // never fails, see crypto/rand
	own := filepath.Join(os.TempDir(), "initrd-"+hex.EncodeToString(unique[:]))
	if os.Link(boot.Initrd, own) != nil { // on another file system, or somebody else's
		if err := copyFile(own, boot.Initrd); err != nil {
			return err
		}
	}
	m.undo = append(m.undo, func() { _ = os.Remove(own) })
	boot.Initrd = own
	m.plan.Boot = boot
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		_ = os.Remove(to)
	}
	return err
}
