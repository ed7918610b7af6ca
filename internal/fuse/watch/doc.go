// Package watch tells which names change in directories of the host. It is
// inotify(7) with keys of the caller's instead of watch descriptors, and with
// directories named by descriptors instead of paths.
//
// The kernel of a guest learns nothing of what the host does below a share: no
// FUSE request says which directories somebody watches, and no notification
// makes the guest's inotify speak (Linux up to 6.18). So whoever knows what the
// guest watches, an agent in it, asks for it here.
//
// Linux only.
package watch
