// Package image makes root file systems for machines out of what people have: a directory, a tar, a disk image, an OCI
// layout, an image in an OCI registry.
//
// All but disk images end as an ext4 image in a Store, a cache below the user's cache directory whose files are named by
// what is in them. Any number of machines share one, read-only; what a guest writes goes to an overlay of its own. A file
// appears in the store complete or not at all, and a lock keeps two processes from making the same one.
//
// Layers are hostile: they come from the network and say which paths to write. Nothing of them is ever written to a path
// of the host. They are applied to a tree in memory, names only, and the tree then becomes one file with a file system
// in it. Sizes, numbers of files and the ratio of decompression are capped.
package image
