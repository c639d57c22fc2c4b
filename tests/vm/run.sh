#!/usr/bin/env bash
# Boots Debian's own kernels under qemu and runs checks.sh in them; see README.md.
# Usage: run.sh [KERNEL PACKAGE]...
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
portledger=${PORTLEDGER:-$target/release/portledger}
work=$target/vm
seconds=${VM_SECONDS:-600}
accel=${VM_ACCEL:-tcg}

# Debian 12 offers the kernel of its release and a younger one under these names.
KERNELS=(linux-image-amd64 linux-image-6.12-amd64)
PROGRAMS=(busybox ss socat jq bpftool)
# What a module needs in turn comes with it, but for crc32c, which sctp asks for by a name of the crypto API.
MODULES=(tcp_diag udp_diag raw_diag mptcp_diag af_packet_diag unix_diag netlink_diag sctp sctp_diag crc32c_generic veth dummy)

die() {
    printf '%s\n' "$*" >&2
    exit 2
}

# A metapackage such as linux-image-amd64 depends on the kernel that it stands for.
concrete() {
    local depends
    depends=$(apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n 's/^Depends: //p' | tr ',' '\n' |
        sed -n 's/^ *\(linux-image-[^ ]*\).*/\1/p' | head -n 1)
    printf '%s\n' "${depends:-$1}"
}

# Apt's candidate, or nothing.
candidate() {
    apt-cache policy "$1" | sed -n 's/^ *Candidate: //p' | { grep -vxF '(none)' || true; }
}

# Unpacks a kernel's package, once, and prints the folder. Nothing is installed.
unpacked() {
    local package=$1 folder=$work/kernels/$1_$2 part=$work/kernels/$1_$2.part
    if [ ! -d "$folder" ]; then
        rm -rf "$part"
        mkdir -p "$part/deb"
        # As root apt tells that its own user cannot read the folder, which is of no matter.
        (cd "$part/deb" && apt-get download -qq "$package=$2" >log 2>&1) ||
            die "$(cat "$part/deb/log")" "apt-get download $package=$2 failed; apt-get update, then try again"
        dpkg-deb -x "$part"/deb/*.deb "$part"
        [ -d "$part/lib/modules" ] || ln -sfn usr/lib "$part/lib"
        index_modules "$part"
        rm -r "$part/deb"
        mv "$part" "$folder"
    fi
    printf '%s\n' "$folder"
}

# Keeps the few thousand modules of hardware out of the index, and unpacks the others: busybox then reads them on every
# kernel.
index_modules() {
    find "$1/lib/modules/" -name '*.ko*' ! -path '*/kernel/net/*' ! -path '*/kernel/lib/*' \
        ! -path '*/kernel/crypto/*' ! -name 'veth.ko*' ! -name 'dummy.ko*' -delete
    find "$1/lib/modules/" -name '*.ko.xz' -exec unxz {} +
    busybox depmod -b "$1" "$(ls "$1/lib/modules")"
}

# A program under /bin of the root folder, and the shared libraries that it needs where its loader looks for them.
put_program() {
    local root=$1 program=$2 name=$3 library
    install -m 755 "$program" "$root/bin/$name"
    # ldd fails on a static program.
    { ldd "$program" 2>/dev/null || true; } | { grep -oE '/[^ ]+' || true; } | while read -r library; do
        mkdir -p "$root${library%/*}"
        cp -L "$library" "$root$library"
    done
}

put_modules() {
    local from=$1/lib/modules/$3 to=$2/lib/modules/$3 module
    mkdir -p "$to"
    for module in "${MODULES[@]}"; do
        # A kernel may have it built in, or not have it at all.
        { grep -E "(^|/)$module\.ko:" "$from/modules.dep" || true; } | tr -d ':' | tr ' ' '\n'
    done | sort -u | while read -r module; do
        cp "$from/$module" "$to/"
    done
    cp "$from"/modules.{builtin,order} "$to/"
    busybox depmod -b "$2" "$3"
}

put_root() {
    local kernel=$1 root=$2 release=$3 program
    rm -rf "$root"
    mkdir -p "$root"/{bin,boot,dev,etc,proc,root,run,sbin,sys,tmp,var/lib}
    for program in "${PROGRAMS[@]}"; do
        put_program "$root" "$(PATH=$PATH:/usr/sbin:/sbin command -v "$program")" "$program"
    done
    # That of busybox has no cgroup namespaces.
    put_program "$root" "$(command -v unshare)" unshare_all
    put_program "$root" "$portledger" portledger
    put_modules "$kernel" "$root" "$release"
    cp "$kernel/boot/config-$release" "$root/boot/config"
    install -m 755 "$here/init.sh" "$root/init"
    cp "$here"/{world,checks}.sh "$root/"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
}

# Prints what the guest prints; the guest's last word decides.
boot() {
    local image=$1 initramfs=$2 log=$3
    timeout --foreground "$seconds" qemu-system-x86_64 -accel "$accel" -cpu qemu64 -smp 2 -m 2G \
        -no-user-config -nodefaults -display none -serial stdio -no-reboot \
        -kernel "$image" -initrd "$initramfs" -append "console=ttyS0 quiet panic=-1" </dev/null |
        tr -d '\r' | tee "$log" || printf 'qemu failed, or was stopped after %s s\n' "$seconds"
    grep -qE '^VM: all [0-9]+ checks passed$' "$log"
}

try_kernel() {
    local kernel image release root start=$SECONDS outcome=passed
    kernel=$(unpacked "$1" "$2")
    image=$(echo "$kernel"/boot/vmlinuz-*)
    release=${image##*/vmlinuz-}
    root=$work/$release
    put_root "$kernel" "$root" "$release"
    (cd "$root" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$root.cpio.gz"
    printf '== %s %s: boots after %s s\n' "$1" "$2" $((SECONDS - start))
    start=$SECONDS
    boot "$image" "$root.cpio.gz" "$root.log" || outcome=FAILED
    printf '== %s %s: %s after %s s\n' "$1" "$2" "$outcome" $((SECONDS - start))
    [ $outcome = passed ]
}

main() {
    local wanted=("$@") kernel package version failed=0 tried=()
    [ $# -gt 0 ] || wanted=("${KERNELS[@]}")
    [ -x "$portledger" ] || die "$portledger: no such program; cargo build --release, or set PORTLEDGER"
    mkdir -p "$work/kernels"
    for kernel in "${wanted[@]}"; do
        package=$(concrete "$kernel")
        version=$(candidate "$package")
        if [ -z "$version" ]; then
            printf 'SKIP %s: apt does not offer it\n' "$kernel"
        elif [[ " ${tried[*]} " != *" $package "* ]]; then
            tried+=("$package")
            try_kernel "$package" "$version" || failed=$((failed + 1))
        fi
    done
    [ ${#tried[@]} -gt 0 ] || die "no kernel was tried"
    [ $failed -eq 0 ]
}

main "$@"
