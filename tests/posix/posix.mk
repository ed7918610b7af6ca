# Other people's tests of file systems, on a share that the host itself mounts.
.PHONY: posix
posix: setup ## pjdfstest, fsx and stress-ng on a share mounted by the host's kernel; POSIX_OPS=N operations each
	tests/posix/run.sh
