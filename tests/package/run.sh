#!/usr/bin/env bash
# Installs the Debian package in a system of its own that boots systemd, and runs checks.sh there; see README.md.
# Usage: run.sh PACKAGE
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
work=$target/package
seconds=${PACKAGE_SECONDS:-600}
package=${1:?the package, as `make deb` builds it}

if [ "$(id -u)" -ne 0 ]; then
    echo "SKIP package: only root may boot a container"
    exit 0
fi

# A Debian as small as it boots, made once.
if [ ! -e "$work/root/sbin/init" ] || [ ! -e "$work/root/usr/bin/openssl" ]; then
    rm -rf "$work/root" "$work/root.part"
    mkdir -p "$work"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,adduser,procps,iproute2,curl,socat,openssl \
        bookworm "$work/root.part" >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log"; exit 2; }
    mv "$work/root.part" "$work/root"
fi
rm -rf "$work/run"
cp -a "$work/root" "$work/run"
cp "$package" "$work/run/opt/portledger.deb"
cp "$here/checks.sh" "$work/run/opt/checks.sh"
cp "$here/checks.service" "$work/run/etc/systemd/system/"
ln -s /etc/systemd/system/checks.service "$work/run/etc/systemd/system/default.target.wants/" 2>/dev/null ||
    { mkdir -p "$work/run/etc/systemd/system/multi-user.target.wants" &&
        ln -s /etc/systemd/system/checks.service "$work/run/etc/systemd/system/multi-user.target.wants/"; }

# All capabilities and calls: a host's own systemd has them, too. No network but its own loopback.
timeout "$seconds" systemd-nspawn --quiet --directory="$work/run" --boot --register=no --keep-unit --private-network \
    --capability=all --system-call-filter="seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self bpf perf_event_open kcmp pidfd_getfd" --machine="portledger-$$" \
    >"$work/boot.log" 2>&1 </dev/null || true
cat "$work/run/var/log/checks.log" 2>/dev/null || { tail -n 40 "$work/boot.log"; exit 1; }
tail -n 1 "$work/run/var/log/checks.log" | grep -q '^PACKAGE: all [0-9]* checks passed$'
