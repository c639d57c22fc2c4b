# shellcheck shell=dash
# Runs in the guest. Every function whose name begins with check_ is a check, in the order of this file: it fails when one
# of its commands does, and what it prints stands below its PASS or FAIL.
set -euo pipefail
# shellcheck source=tests/vm/world.sh
. /world.sh

# For whoever reads the output: what this kernel allows.
tell_kernel() {
    uname -r
    names='BPF_SYSCALL|BPF_JIT|BPF_LSM|CGROUP_BPF|DEBUG_INFO_BTF|FPROBE|KPROBES|KPROBE_EVENTS|FUNCTION_TRACER'
    grep -E "^(# )?CONFIG_($names|DYNAMIC_FTRACE_WITH_DIRECT_CALLS|INET_DIAG|MPTCP|LSM)[ =]" /boot/config
    echo "/sys/kernel/btf/vmlinux: $(stat -c %s /sys/kernel/btf/vmlinux 2>&1) bytes"
    echo "lsm=$(cat /sys/kernel/security/lsm)"
    echo "lockdown: $(cat /sys/kernel/security/lockdown)"
    for setting in kernel/unprivileged_bpf_disabled kernel/perf_event_paranoid net/core/bpf_jit_enable; do
        echo "$setting=$(cat /proc/sys/$setting)"
    done
    echo "program types: $(bpftool feature probe kernel 2>/dev/null |
        sed -n 's/^eBPF program_type \(.*\) is available$/\1/p' | tr '\n' ' ')"
}

# The diag modules of a stock kernel are on disk until somebody asks, and a host may refuse to load any.
check_list_where_no_module_can_be_loaded() {
    helper=$(cat /proc/sys/kernel/modprobe)
    trap 'echo "$helper" >/proc/sys/kernel/modprobe' EXIT
    echo /bin/false >/proc/sys/kernel/modprobe
    rows true >/tmp/rows
    json | jq -r '.gaps[] | .collector + ": " + .reason' | tee /tmp/gaps
    cat /tmp/rows
    for port in $HERE $ELSEWHERE; do
        grep -q " $port [0-9]" /tmp/rows || { echo "no holder of $port"; return 1; }
    done
    grep -q 'modprobe tcp_diag' /tmp/gaps
}

check_doctor_sees_everything() {
    portledger doctor | tee /tmp/doctor
    for scope in sockets holders namespaces addresses; do
        awk -v scope=$scope '$1 == scope { told = 1; all = $2 == $4 } END { exit !(told && all) }' /tmp/doctor ||
            { echo "not all $scope"; return 1; }
    done
}

check_list_agrees_with_ss() {
    ss_rows | tee /tmp/ss
    # ss knows MPTCP by the TCP socket below it.
    rows '.netns.kind == "host" and (.protocol | IN("tcp", "udp"))' >/tmp/rows
    for port in $HERE $MPTCP; do
        grep -q " $port [0-9]" /tmp/ss || { echo "ss has no holder of $port"; return 1; }
    done
    diff /tmp/ss /tmp/rows
}

check_list_shows_other_namespaces() {
    rows '.netns.kind != "host"' | tee /tmp/rows
    [ "$(cut -d ' ' -f 1-3 /tmp/rows | tr '\n' ,)" = 'tcp 0.0.0.0 7010,udp 0.0.0.0 7011,' ]
}

check_list_tells_twins_device_and_v6_only() {
    portledger list
    json | jq -se '.[0].listeners | def at(port): map(select(.port == port));
        (at(7008) | length == 2 and (map(.holders[].pid) | unique | length == 2)) and (at(7009)[0].device == "lo")
        and (at(7004)[0].ipv6_only == true) and (at(7005)[0].ipv6_only == false)'
}

check_list_tells_mptcp() {
    rows ".port == $MPTCP" | tee /tmp/rows
    grep -qE "^mptcp 0.0.0.0 $MPTCP [0-9]+$" /tmp/rows
}

# Asking for a protocol that the kernel has not registered would load it.
check_list_loads_no_protocol() {
    portledger list >/dev/null
    lsmod | tee /tmp/modules
    [ "$(grep -c '^sctp ' /tmp/modules)" -eq 0 ]
}

check_list_tells_sctp_once_loaded() {
    socat -u SCTP4-LISTEN:7021 OPEN:/dev/null &
    until_true grep -qs ' 7021 ' /proc/net/sctp/eps
    rows '.protocol == "sctp"' | tee /tmp/rows
    kill $!
    grep -qE '^sctp 0.0.0.0 7021 [0-9]+$' /tmp/rows
}

check_list_as_nobody_tells_its_gaps() {
    su nobody -c 'portledger list --format json' >/tmp/rows 2>/dev/null
    jq -r '.gaps[] | .scope + ": " + .reason' /tmp/rows
    jq -se '.[0] | (.gaps | map(.scope) | index("holders") and index("namespaces"))
        and (.listeners | map(select(.port == 7002)) | .[0].unattributed != null)' /tmp/rows
}

# Its user cannot open /proc/self/auxv, which is what some libraries read where Linux is older than 6.4.
check_serve_answers_scrapes() {
    serve_up
    metric '^portledger_(listeners.*[1-9]$|coverage)'
    metric '^process_(cpu|resident)'
    grep '^Uid:' /proc/$serve/status | tee /tmp/uid
    [ "$(grep -cw 0 /tmp/uid)" -eq 0 ]
}

# How far Landlock goes on this kernel stands in the log, below.
check_serve_is_in_its_boxes() {
    serve_up
    all=0
    for status in /proc/[0-9]*/status; do
        [ "$(cut -d '(' -f 2 "${status%status}stat" | cut -d ')' -f 1)" = portledger ] || continue
        all=$((all + 1))
        grep -E '^(Pid|Cap(Eff|Prm|Bnd)|NoNewPrivs|Seccomp):' "$status" | tr -s '\t\n' '  ' | tee /tmp/box
        echo
        grep -q 'CapBnd: 0* .*NoNewPrivs: 1 Seccomp: 2' /tmp/box || grep -q 'CapEff: 0* .*NoNewPrivs: 1 Seccomp: 2' /tmp/box
    done
    [ $all -eq 3 ]
}

# Where `serve` runs, `list` shares its iterators; else it walks over so few descriptors.
check_list_by_the_iterators_agrees() {
    rows '.port | . >= 7001 and . <= 7012' >/tmp/walked
    serve_up
    rows '.port | . >= 7001 and . <= 7012' | tee /tmp/told
    diff /tmp/walked /tmp/told
    json | jq -e '.listeners | map(select(.port == 7002))[0].port_choice == "explicit"'
}

check_serve_counts_what_opens() {
    serve_up
    metric '^portledger_opened_total{protocol="tcp"} ' >/tmp/before
    cat /tmp/before
    listen 7020 TCP4-LISTEN:7020
    until_true opened_differs
    cat /tmp/after
}

opened_differs() {
    metric '^portledger_opened_total{protocol="tcp"} ' >/tmp/after && ! cmp -s /tmp/before /tmp/after
}

check_doctor_says_that_events_are_told() {
    portledger doctor --format json | jq -c .events | tee /tmp/events
    jq -e '.source == "bpf" and all(.hooks[]; .refused == null)' /tmp/events
}

check_serve_counts_what_lives_for_a_moment() {
    serve_up
    counts_moments
}

# In a cgroup namespace of its own the root of the cgroups is out of reach, and functions of the kernel tell instead.
check_serve_counts_moments_by_functions() {
    mkdir -p /sys/fs/cgroup/low
    in_low unshare_all -C portledger doctor --format json | jq -c .events | tee /tmp/events
    jq -e '.source == "bpf" and all(.hooks[] | select(.name | test("^f(entry|exit)/")); .refused == null)
        and any(.hooks[]; .name | test("^fexit/"))' /tmp/events
    serve_up in_low unshare_all -C
    counts_moments
}

in_low() {
    sh -c 'echo $$ >/sys/fs/cgroup/low/cgroup.procs; exec "$@"' - "$@"
}

# Each of ten TCP and ten UDP sockets, open for some milliseconds, is counted once.
counts_moments() {
    metric '^portledger_event_source{source="bpf"} 1'
    for kind in tcp udp; do
        metric "^portledger_opened_total{protocol=\"$kind\"} " | sed 's/.* //' >/tmp/opened.$kind
        metric "^portledger_closed_total{protocol=\"$kind\"} " | sed 's/.* //' >/tmp/closed.$kind
    done
    for moment in 1 2 3 4 5 6 7 8 9 10; do
        socat -u TCP4-LISTEN:703$((moment % 10)),reuseaddr,accept-timeout=0.02 OPEN:/dev/null 2>/dev/null || true
        timeout 0.2 socat -u UDP4-RECV:704$((moment % 10)) OPEN:/dev/null 2>/dev/null || true
    done
    until_true counted tcp 10
    until_true counted udp 10
    metric '^portledger_(opened|closed|events_lost)_total.*[1-9]$' || true
}

# counted PROTOCOL MORE: so many more opened and closed than before.
counted() {
    for what in opened closed; do
        now=$(metric "^portledger_${what}_total{protocol=\"$1\"} " | sed 's/.* //')
        [ "$now" -eq $(($(cat /tmp/$what.$1) + $2)) ] || return 1
    done
}

# Not to be called where its status is asked for: there a shell lets `set -e` go, in the check as well.
one() {
    set +e
    (set -e; "$1") >/tmp/check 2>&1 </dev/null
    status=$?
    set -e
    all=$((all + 1))
    if [ $status -eq 0 ]; then
        echo "PASS ${1#check_}"
    else
        echo "FAIL ${1#check_}: status $status"
        failed=$((failed + 1))
    fi
    sed 's/^/    /' /tmp/check
}

main() {
    tell_kernel
    make_world
    all=0
    failed=0
    # shellcheck disable=SC2013
    for check in $(grep -o '^check_[a-z0-9_]*' /checks.sh); do
        one "$check"
    done
    echo "up for $(cut -d ' ' -f 1 /proc/uptime) s"
    if [ $failed -eq 0 ]; then echo "VM: all $all checks passed"; else echo "VM: $failed of $all checks FAILED"; fi
}

main
