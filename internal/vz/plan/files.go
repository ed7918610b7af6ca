package plan

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// sectorSize is the unit of a disk's size in bytes (virtio 1.2 section 5.2.4).
const sectorSize = 512

// fileError is the error of a file that cannot be used.
func fileError(kind vm.Kind, path, hint, format string, a ...any) error {
	return vm.Errorf(kind, opNew, format, a...).WithComponent(component).WithPath(path).WithHint(hint)
}

// wrapFile gives an error of the operating system its type.
func wrapFile(path string, err error) error {
	if err == nil {
		return nil
	}
	return fileError(vm.KindOf(err), path, "", "%w", err)
}

// regular is the state of a file of bytes.
func regular(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, wrapFile(path, err)
	case !info.Mode().IsRegular():
		return nil, fileError(vm.KindInvalidArg, path, "", "%s is no file of bytes", path)
	}
	return info, nil
}

// addDisks checks the images: the framework reports little.
func (p *Plan) addDisks(cfg vm.Config, mac Mac) error {
	for _, d := range cfg.Disks {
		info, err := os.Stat(d.Path)
		if err != nil {
			return wrapFile(d.Path, err)
		}
		switch {
		case info.Mode()&fs.ModeDevice != 0:
			return fileError(vm.KindUnsupported, d.Path, "it needs "+mac.offers()[vm.FeatureDiskDevice],
				"backend %s lacks the capability %q", Name, string(vm.FeatureDiskDevice))
		case !info.Mode().IsRegular():
			return fileError(vm.KindInvalidArg, d.Path, "", "%s is no file of bytes", d.Path)
		case info.Size() == 0 || info.Size()%sectorSize != 0:
			return fileError(vm.KindInvalidArg, d.Path, "truncate -s makes it longer",
				"the image has %d bytes, which is no multiple of %d above 0", info.Size(), sectorSize)
		}
		if err := permitted(d.Path, !d.ReadOnly); err != nil {
			return err
		}
		b := Block{Path: d.Path, Serial: d.Serial, ReadOnly: d.ReadOnly, Cache: CacheCached, Sync: SyncFsync}
		if d.Direct {
			b.Cache, b.Sync = CacheUncached, SyncFull
		}
		p.Devices = append(p.Devices, b)
	}
	return nil
}

// permitted says why a file cannot be opened, or nil.
func permitted(path string, write bool) error {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return wrapFile(path, err)
	}
	return wrapFile(path, f.Close())
}

// addEFI plans to make the variable store only where nothing is: the framework's way of
// making one overwrites.
func (p *Plan) addEFI(path string) error {
	_, err := os.Lstat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if !missing {
		if _, err := regular(path); err != nil {
			return err
		}
		if err := permitted(path, true); err != nil {
			return err
		}
	}
	p.Boot = EFIBoot{Variables: path, Create: missing}
	return nil
}

// addShares checks the directories.
func (p *Plan) addShares(cfg vm.Config) error {
	for _, s := range cfg.Shares {
		info, err := os.Stat(s.Path)
		if err != nil {
			return wrapFile(s.Path, err)
		}
		if !info.IsDir() {
			return fileError(vm.KindInvalidArg, s.Path, "", "%s is no directory", s.Path)
		}
		p.Devices = append(p.Devices, Share{Tag: s.Tag, Path: s.Path, ReadOnly: s.ReadOnly})
	}
	if cfg.Rosetta != "" {
		p.Devices = append(p.Devices, RosettaShare{Tag: cfg.Rosetta})
	}
	return nil
}

const (
	// identifierSuffix names the file with the machine's identifier beside a saved
	// state, which is only restored with it.
	identifierSuffix = ".machine"
	// maxIdentifier is the longest identifier that is read, in bytes. They have some
	// hundred (a property list).
	maxIdentifier = 64 << 10
)

// IdentifierPath is where the identifier is kept of the machine whose state is at path.
func IdentifierPath(path string) string { return path + identifierSuffix }

// addRestore reads the identifier of the machine that was saved.
func (p *Plan) addRestore(cfg vm.Config, _ Mac) error {
	if cfg.Restore == "" {
		return nil
	}
	if _, err := regular(cfg.Restore); err != nil {
		return err
	}
	path := IdentifierPath(cfg.Restore)
	f, err := os.Open(path)
	if err != nil {
		return wrapFile(path, err)
	}
	defer f.Close()
	id, err := io.ReadAll(io.LimitReader(f, maxIdentifier+1))
	switch {
	case err != nil:
		return wrapFile(path, err)
	case len(id) == 0 || len(id) > maxIdentifier:
		return fileError(vm.KindInvalidArg, path, "", "%d bytes are no identifier of a machine", len(id))
	}
	p.Identifier = id
	return nil
}

// macOf is the address of the guest's interface: what is given, or one that the
// machine's name stands for, so that the guest finds the same interface again.
func macOf(cfg vm.Config) net.HardwareAddr {
	if given, err := net.ParseMAC(cfg.Network.MAC); err == nil {
		return given
	}
	seed := cfg.Name
	if seed == "" {
		seed = rand.Text()
	}
	sum := sha256.Sum256([]byte("vz network 1" + seed))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^1 | 2 // one station's, of nobody's registry (IEEE 802-2014 section 8.2)
	return mac
}

// diskName is what Linux calls the i-th disk: vda to vdz, then vdaa (drivers/block/
// virtio_blk.c, virtblk_name_format).
func diskName(i int) string {
	letters := ""
	for ; i >= 0; i = i/26 - 1 {
		letters = string(rune('a'+i%26)) + letters
	}
	return "/dev/vd" + letters
}
