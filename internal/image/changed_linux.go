package image

import "syscall"

// changed is when anything about a file changed last.
func changed(s *syscall.Stat_t) (sec, nsec int64) { return s.Ctim.Sec, s.Ctim.Nsec }
