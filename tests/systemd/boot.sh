#!/bin/bash
# The first process of a machine of the test's own: an overlay of this host's files, systemd on top, no unit but those of the test.
# Run in new mount, PID, network and control-group namespaces: boot.sh FOLDER PYTHON_PREFIX SITE_PACKAGES CHECKOUT
# FOLDER holds `files`, which is laid over the host's root; with usr/lib/tradingd-test/units as the only unit folder.
set -eu
folder=$1 python=$2 site_packages=$3 checkout=$4
root=$folder/root
mount --make-rprivate /
mount -t tmpfs -o mode=755 tradingd-test "$folder/layer"
mkdir "$folder/layer/upper" "$folder/layer/work"
cp -a "$folder/files/." "$folder/layer/upper/"
mount -t overlay -o "lowerdir=/,upperdir=$folder/layer/upper,workdir=$folder/layer/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
# What systemd logs, for the test to read: it holds the other end of this pipe.
touch "$root/dev/kmsg"
mount --bind "$folder/kmsg" "$root/dev/kmsg"
mkdir "$root/dev/shm" "$root/dev/pts" "$root/dev/mqueue"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for place in dev/shm tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$place"; done
for place in run var/lib; do mount -t tmpfs -o mode=755 tmpfs "$root/$place"; done
mkdir -p "$root/run/log"
# An installation as docs/SERVICE.md describes it, of what this checkout holds.
opt=$root/opt/tradingd
mount --bind "$python" "$opt/python"
packages=$(echo "$opt"/lib/python3.*/site-packages)
mount --bind "$site_packages" "$packages"
mount --bind "$checkout" "$opt/checkout"
# Whatever happens in there, nothing of this host is written.
for place in "$opt/python" "$packages" "$opt/checkout"; do mount -o remount,bind,ro "$place"; done
mkdir "$root/run/old"
cd "$root"
pivot_root . run/old
umount -l /run/old
rmdir /run/old
# As on any machine that systemd has booted by itself: what it mounts for a service's credentials is seen by the service.
mount --make-rshared /
exec env -i container=tradingd-test PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/usr/lib/tradingd-test/units \
    /lib/systemd/systemd --system --unit=default.target --log-target=kmsg --log-level=info --show-status=no
