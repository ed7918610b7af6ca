// Package fuse is the file server behind shared directories: it answers FUSE
// requests (Linux's include/uapi/linux/fuse.h, version 7.40) from a directory
// of the host. It knows no virtqueue and no hypervisor; whoever has requests
// calls the function that [Server.Worker] returns, with the request's and the
// reply's buffers as they lie in guest memory.
//
// # Confinement
//
// The client is hostile. It names files by node numbers, which the server
// hands out, and by names of one component, which are copied, checked and then
// given to *at system calls on the descriptor of a directory inside the share.
// No call follows a symbolic link: the client resolves links itself, inside
// its own view. Nothing but regular files and directories is ever opened.
// There are no path strings anywhere, so renames on either side cannot lead
// out of the share.
//
// # Nodes and descriptors
//
// A node is remembered as (parent, name) and its identity: device, inode,
// mount, type and birth time. A descriptor exists only for directories that
// were entered and files that are open, and is compared with the identity
// when it is opened; a node that is not found any more answers ESTALE, upon
// which Linux looks its path up again. Descriptors of directories are closed,
// least recently used first, when the share's budget is used up.
//
// # Concurrency
//
// Everything is safe for concurrent use. A request that may wait for a disk,
// a lock or another machine says so first (see [Server.Worker]). Locks are taken in
// this order: session.renames, session.binds, table.mu, inode.mu, budget.mu.
//
// Linux only.
package fuse
