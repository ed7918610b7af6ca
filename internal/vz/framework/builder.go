//go:build darwin && (cgo || vzstub)

package framework

import (
	"errors"
	"fmt"
	"slices"

	vzf "github.com/Code-Hex/vz/v3"

	"github.com/libcapsa/libcapsa/internal/vz"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// The plan's numbers are the framework's: an index that is not 0 does not compile.
var (
	_ = [1]struct{}{}[int(plan.CacheUncached)-int(vzf.DiskImageCachingModeUncached)]
	_ = [1]struct{}{}[int(plan.CacheCached)-int(vzf.DiskImageCachingModeCached)]
	_ = [1]struct{}{}[int(plan.SyncFull)-int(vzf.DiskImageSynchronizationModeFull)]
	_ = [1]struct{}{}[int(plan.SyncFsync)-int(vzf.DiskImageSynchronizationModeFsync)]
)

// builder collects a configuration.
type builder struct {
	ends       vz.Ends
	cfg        *vzf.VirtualMachineConfiguration
	identifier []byte

	disks    []vzf.StorageDeviceConfiguration
	nics     []*vzf.VirtioNetworkDeviceConfiguration
	serials  []*vzf.VirtioConsoleDeviceSerialPortConfiguration
	shares   []vzf.DirectorySharingDeviceConfiguration
	sockets  []vzf.SocketDeviceConfiguration
	entropy  []*vzf.VirtioEntropyDeviceConfiguration
	balloons []vzf.MemoryBalloonDeviceConfiguration
}

func (b *builder) boot(boot plan.Boot) (vzf.BootLoader, error) {
	switch boot := boot.(type) {
	case plan.LinuxBoot:
		opts := []vzf.LinuxBootLoaderOption{vzf.WithCommandLine(boot.Cmdline)}
		if boot.Initrd != "" {
			opts = append(opts, vzf.WithInitrd(boot.Initrd))
		}
		return vzf.NewLinuxBootLoader(boot.Kernel, opts...)
	case plan.EFIBoot:
		var opts []vzf.NewEFIVariableStoreOption
		if boot.Create {
			opts = append(opts, vzf.WithCreatingEFIVariableStore())
		}
		store, err := vzf.NewEFIVariableStore(boot.Variables, opts...)
		if err != nil {
			return nil, err
		}
		return vzf.NewEFIBootLoader(vzf.WithEFIVariableStore(store))
	}
	return nil, fmt.Errorf("BUG: no way to boot %T", boot)
}

// platform gives the machine its identifier.
func (b *builder) platform(identifier []byte) error {
	var id *vzf.GenericMachineIdentifier
	var err error
	if len(identifier) > 0 { // the bindings want at least a byte
		id, err = vzf.NewGenericMachineIdentifierWithData(identifier)
	} else {
		id, err = vzf.NewGenericMachineIdentifier()
	}
	if err != nil {
		return err
	}
	b.identifier = slices.Clone(id.DataRepresentation()) // which are bytes of an object
	p, err := vzf.NewGenericPlatformConfiguration(vzf.WithGenericMachineIdentifier(id))
	if err != nil {
		return err
	}
	b.cfg.SetPlatformVirtualMachineConfiguration(p)
	return nil
}

// add adds a device of the plan.
func (b *builder) add(d plan.Device) error {
	switch d := d.(type) {
	case plan.Serial:
		return b.addSerial()
	case plan.Block:
		return b.addBlock(d)
	case plan.NIC:
		return b.addNIC(d)
	case plan.Share:
		dir, err := vzf.NewSharedDirectory(d.Path, d.ReadOnly)
		if err != nil {
			return err
		}
		share, err := vzf.NewSingleDirectoryShare(dir)
		if err != nil {
			return err
		}
		return b.addShare(d.Tag, share)
	case plan.RosettaShare:
		share, err := rosettaShare()
		if err != nil {
			return err
		}
		return b.addShare(d.Tag, share)
	case plan.Vsock:
		c, err := vzf.NewVirtioSocketDeviceConfiguration()
		b.sockets = append(b.sockets, c)
		return err
	case plan.Entropy:
		c, err := vzf.NewVirtioEntropyDeviceConfiguration()
		b.entropy = append(b.entropy, c)
		return err
	case plan.Balloon:
		c, err := vzf.NewVirtioTraditionalMemoryBalloonDeviceConfiguration()
		b.balloons = append(b.balloons, c)
		return err
	}
	return errors.New("BUG: no such device")
}

func (b *builder) addSerial() error {
	a, err := vzf.NewFileHandleSerialPortAttachment(b.ends.Input, b.ends.Output)
	if err != nil {
		return err
	}
	c, err := vzf.NewVirtioConsoleDeviceSerialPortConfiguration(a)
	b.serials = append(b.serials, c)
	return err
}

func (b *builder) addBlock(d plan.Block) error {
	a, err := vzf.NewDiskImageStorageDeviceAttachmentWithCacheAndSync(d.Path, d.ReadOnly,
		vzf.DiskImageCachingMode(d.Cache), vzf.DiskImageSynchronizationMode(d.Sync))
	if err != nil {
		return err
	}
	c, err := vzf.NewVirtioBlockDeviceConfiguration(a)
	if err != nil {
		return err
	}
	if d.Serial != "" {
		if err := c.SetBlockDeviceIdentifier(d.Serial); err != nil {
			return err
		}
	}
	b.disks = append(b.disks, c)
	return nil
}

func (b *builder) addNIC(d plan.NIC) error {
	var a vzf.NetworkDeviceAttachment
	var err error
	if d.NAT {
		a, err = vzf.NewNATNetworkDeviceAttachment()
	} else {
		a, err = vzf.NewFileHandleNetworkDeviceAttachment(b.ends.Network) // MTU 1500: larger frames stall it
	}
	if err != nil {
		return err
	}
	c, err := vzf.NewVirtioNetworkDeviceConfiguration(a)
	if err != nil {
		return err
	}
	mac, err := vzf.NewMACAddress(d.MAC)
	if err != nil {
		return err
	}
	c.SetMACAddress(mac)
	b.nics = append(b.nics, c)
	return nil
}

func (b *builder) addShare(tag string, share vzf.DirectoryShare) error {
	c, err := vzf.NewVirtioFileSystemDeviceConfiguration(tag)
	if err != nil {
		return err
	}
	c.SetDirectoryShare(share)
	b.shares = append(b.shares, c)
	return nil
}

// finish hands all devices over and makes the framework check the whole, once.
func (b *builder) finish(restores bool) error {
	b.cfg.SetStorageDevicesVirtualMachineConfiguration(b.disks)
	b.cfg.SetNetworkDevicesVirtualMachineConfiguration(b.nics)
	b.cfg.SetSerialPortsVirtualMachineConfiguration(b.serials)
	b.cfg.SetDirectorySharingDevicesVirtualMachineConfiguration(b.shares)
	b.cfg.SetSocketDevicesVirtualMachineConfiguration(b.sockets)
	b.cfg.SetEntropyDevicesVirtualMachineConfiguration(b.entropy)
	b.cfg.SetMemoryBalloonDevicesVirtualMachineConfiguration(b.balloons)
	ok, err := b.cfg.Validate()
	if err == nil && !ok {
		err = errors.New("the framework does not take the configuration, and does not say why")
	}
	if err == nil && restores {
		err = savable(b.cfg)
	}
	return err
}
