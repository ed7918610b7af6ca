#!/bin/sh
# Other people's tests of file systems, on a share that this host mounts through /dev/fuse. See README.md.
#
#   XDG_CACHE_HOME  the suites are built into capsa/posix there (default ~/.cache)
#   CAPSA_REQUIRE   words (fuse, rust) whose lack is a failure and not a skip
#   POSIX_OPS       operations of fsx (default 5000), and a hundredth of it of each of stress-ng
#   POSIX_POLICIES  cache policies (default "auto none writeback acl")
set -eu
cd "$(dirname "$0")/../.."
here=$PWD/tests/posix
ops=${POSIX_OPS:-5000}
suites=${XDG_CACHE_HOME:-$HOME/.cache}/capsa/posix

skip() {
	echo "posix: $2"
	case ",${CAPSA_REQUIRE:-}," in *",$1,"*) exit 1 ;; esac
	exit 0
}
[ "$(id -u)" = 0 ] && { : <>/dev/fuse; } 2>/dev/null || skip fuse "mounting needs root and /dev/fuse"
command -v cargo >/dev/null 2>&1 || skip rust "two suites are written in Rust, and there is no cargo"

# crate NAME VERSION SHA256: a program of crates.io, with the dependencies of its own lock file.
crate() {
	[ ! -x "$suites/$1-$2/bin/$1" ] || return 0
	echo "posix: building $1 $2"
	cargo info -q "$1@$2" >/dev/null # downloads it
	echo "$3 $(ls "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"$1-$2.crate")" | sha256sum -c --quiet
	CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install -q --locked --root "$suites/$1-$2" "$1@$2"
}
crate pjdfstest 0.2.2 bb5e2bea16df357ae879d1585bedaffe5913ab8f45e874f623b0b2f5555c8376
crate fsx 0.3.2 72680bb1e43d40729d5f6e9de5bbe604820ff51e4707e109cb5082ec67d022a2
pjdfstest="$suites/pjdfstest-0.2.2/bin/pjdfstest"
fsx="$suites/fsx-0.3.2/bin/fsx"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go test -c -o "$work/fuse.test" ./internal/fuse

# share NAME COMMAND: the command in the root of a share of its own. Its output goes to a file, and here when it fails.
failed=0
share() {
	name="$policy: $1" begin=$(date +%s)
	if CAPSA_FUSE_POLICY=$policy CAPSA_FUSE_SUITE=$2 "$work/fuse.test" -test.run '^TestSuite$' -test.v >"$work/out" 2>&1; then
		count=$(sed -n 's/.*Summary: //p; s/.*stress-ng: info: .*successful run completed.*/completed/p; s/.*A-OK!/completed/p' \
			"$work/out")
		echo "posix: $name: ${count:?did not run} in $(($(date +%s) - begin)) s"
	else
		cat "$work/out"
		echo "posix: $name: FAILED"
		failed=1
	fi
}

# The stressors that check what they did, all at once.
stress=
for s in access chmod chown copy-file dentry dir dirdeep dirmany fallocate fcntl filename flock fstat getdent hdd iomix \
	lease locka lockf lockofd mknod msync open rename revio seek sendfile touch utime xattr; do
	stress="$stress --$s 1 --$s-ops $((ops / 100))"
done

mkdir "$work/other"
for policy in ${POSIX_POLICIES:-auto none writeback acl}; do
	share pjdfstest "mount -t tmpfs none $work/other && $pjdfstest -c $here/pjdfstest.toml -p . -s $work/other"
	share "pjdfstest, read-only" "sed 's/allow_remount = false/allow_remount = true/' $here/pjdfstest.toml >$work/ro.toml &&
		$pjdfstest -c $work/ro.toml -p . erofs"
	share "fsx, $ops operations" "$fsx -f $here/fsx.toml -S 1 -N $ops -P $work file"
	checked=$stress
	# With a write-back cache Linux asks for data and holes (FUSE_LSEEK) without writing first what it has in its cache
	# (fs/fuse/file.c, fuse_lseek), and the file in the share has not grown yet.
	[ $policy = writeback ] && checked=$(echo "$stress" | sed 's/--seek [0-9]* --seek-ops [0-9]*//')
	share "stress-ng, $((ops / 100)) operations of each kind" "stress-ng --temp-path . --verify $checked"
done
exit $failed
