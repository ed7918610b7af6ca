// Package hold lets one process hold a machine and others find it, talk to it and end it.
//
// A holder is a process with a machine and a directory named like it below the user's run-time directory:
//
//	$XDG_RUNTIME_DIR/capsa/NAME/lock     held as long as the process lives; whoever gets it may remove the directory
//	$XDG_RUNTIME_DIR/capsa/NAME/socket   where it answers
//
// Nothing else says that a machine is there, so that nothing can be out of date: a holder that was killed has lost its
// lock, and the next look at the directory removes what it left.
//
// A connection carries one request and what belongs to it, as frames: a length of four bytes, most significant first,
// and that much JSON; descriptors travel with the frame that speaks of them. A program's streams are the guest's own, as
// descriptors: what goes through them does not pass the holder.
package hold
