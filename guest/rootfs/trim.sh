#!/bin/sh
# trim.sh ROOT: makes a fresh Debian installation a small one that boots quickly on
# a slow processor. What is left is an ordinary systemd: udev, the journal, D-Bus,
# logind, a login on hvc0.
set -eu
root=${1:?usage: trim.sh ROOT}

# Password of root: capsa. Few rounds: it is no secret, and hashing takes seconds
# under emulation.
hash='$6$rounds=1000$capsa$CrlPSsVOTOw8/rO.NMDayxrM18JjbCt7bWJ6XQbmIsVe33QlinJNZuHgn2jqR4q0zukh79.JPgZY2jUPPYXNq1'
sed -i "s|^root:[^:]*:|root:$hash:|" "$root/etc/shadow"

echo debian >"$root/etc/hostname"
echo '127.0.0.1 localhost debian' >"$root/etc/hosts"
: >"$root/etc/motd"
# A machine with an identity is not at its first boot.
echo 63617073610000000000000000000001 >"$root/etc/machine-id"

units=$root/etc/systemd/system
mask() { for u; do ln -sf /dev/null "$units/$u"; done; }
# Timers, and what looks after hardware and software that is not there.
mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
	fstrim.timer systemd-tmpfiles-clean.timer \
	getty@tty1.service getty-static.service \
	systemd-pstore.service systemd-random-seed.service systemd-update-utmp.service \
	systemd-update-utmp-runlevel.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
	systemd-modules-load.service kmod-static-nodes.service modprobe@.service \
	systemd-ask-password-wall.path systemd-ask-password-console.path \
	sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount \
	systemd-network-generator.service systemd-networkd.service systemd-networkd.socket \
	console-setup.service keyboard-setup.service networking.service
# The console's login is a plain link; nothing needs to be generated at boot.
mkdir -p "$root/etc/systemd/system-generators" "$units/getty.target.wants"
for g in "$root"/lib/systemd/system-generators/*; do
	ln -sf /dev/null "$root/etc/systemd/system-generators/${g##*/}"
done
ln -sf /lib/systemd/system/serial-getty@.service "$units/getty.target.wants/serial-getty@hvc0.service"
ln -sf /lib/systemd/system/multi-user.target "$units/default.target"

# What only takes room: fio's plotting tools are all that wants Python.
rm -rf "$root"/usr/lib/python3* "$root"/usr/share/python3* "$root"/usr/bin/python3* "$root"/usr/bin/py3* \
	"$root"/usr/share/perl5/* "$root"/usr/share/common-licenses/* "$root"/usr/share/bash-completion \
	"$root"/usr/lib/x86_64-linux-gnu/gconv/* \
	"$root"/var/lib/apt/lists/* "$root"/var/cache/* "$root"/var/log/* "$root"/var/lib/dpkg/info/*.md5sums

# Nothing is newer than what was made of it (ConditionNeedsUpdate=).
touch -r "$root/usr" "$root/etc/.updated" "$root/var/.updated"
