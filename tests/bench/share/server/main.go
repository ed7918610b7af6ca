//go:build linux

// Command server mounts a directory through the host's /dev/fuse until it is
// unmounted, without caches: every access of the kernel's is a request.
//
//	server ours|go-fuse DIR MOUNTPOINT
//
// "ours" is the file server of shares, "go-fuse" that library's loopback file
// system. It prints a line when the mount is there.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/fuse"
)

// peerMaxIO is the largest that go-fuse gets through its pipes.
const peerMaxIO = 512 << 10

// workers is how many requests are served at once; go-fuse chooses itself.
const workers = 2

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 3 {
		switch args[0] {
		case "ours":
			return ours(args[1], args[2])
		case "go-fuse":
			return loopback(args[1], args[2])
		}
	}
	return errors.New("usage: server ours|go-fuse DIR MOUNTPOINT")
}

func ours(dir, at string) error {
	srv, err := fuse.New(dir, fuse.Options{Cache: fuse.CacheNone, Owner: fuse.Ownership{Mode: fuse.Passthrough}})
	if err != nil {
		return err
	}
	defer srv.Close()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read=%d", fd, fuse.MaxIO)
	if err := unix.Mount("bench", at, "fuse", 0, data); err != nil {
		return err
	}
	fmt.Println("mounted")
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { serve(fd, srv) })
	}
	wg.Wait()
	return nil
}

// serve answers requests until the unmount.
func serve(fd int, srv *fuse.Server) {
	handle := srv.Worker(nil, nil)
	in, out := make([]byte, fuse.MaxIO+8192), make([]byte, fuse.MaxIO+4096)
	for {
		n, err := unix.Read(fd, in)
		switch err {
		case nil:
		case unix.EINTR, unix.EAGAIN, unix.ENOENT:
			continue
		default:
			return
		}
		if w := handle([][]byte{in[:n]}, [][]byte{out}); w > 0 {
			_, _ = unix.Write(fd, out[:w]) // ENOENT: interrupted meanwhile
		}
	}
}

// direct is a loopback node whose data the kernel does not cache.
type direct struct{ *fs.LoopbackNode }

// WrapChild makes nodes below the root such nodes too.
func (d *direct) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	if n, ok := ops.(*fs.LoopbackNode); ok {
		return &direct{n}
	}
	return ops
}

// Open is LoopbackNode's.
func (d *direct) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	fh, f, e := d.LoopbackNode.Open(ctx, flags)
	return fh, f | gofuse.FOPEN_DIRECT_IO, e
}

// Create is LoopbackNode's.
func (d *direct) Create(ctx context.Context, name string, flags, mode uint32, out *gofuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	n, fh, f, e := d.LoopbackNode.Create(ctx, name, flags, mode, out)
	return n, fh, f | gofuse.FOPEN_DIRECT_IO, e
}

func loopback(dir, at string) error {
	root, err := fs.NewLoopbackRoot(dir)
	if err != nil {
		return err
	}
	node, ok := root.(*fs.LoopbackNode)
	if !ok {
		return errors.New("go-fuse's loopback is of another type")
	}
	srv, err := fs.Mount(at, &direct{node}, &fs.Options{MountOptions: gofuse.MountOptions{
		DirectMountStrict: true, AllowOther: true, MaxWrite: peerMaxIO, Options: []string{"default_permissions"},
	}})
	if err != nil {
		return err
	}
	fmt.Println("mounted")
	srv.Wait()
	return nil
}
