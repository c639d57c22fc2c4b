#!/bin/bash
# The checks, in their order: each is a function whose name begins with `check_`, and fails when one of its commands does.
set -uo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
url=http://127.0.0.1:10433
state=/var/lib/portledger

not() { if "$@"; then echo "should have failed: $*"; return 1; fi; }
eventually() {
    for _ in $(seq 100); do
        "$@" && return 0
        sleep 0.3
    done
    echo "not within 30 s: $*"
    return 1
}
another_sensor_than() { now=$(main_pid portledger-sensor.service) && [ "$now" != 0 ] && [ "$now" != "$1" ]; }
main_pid() { systemctl show -p MainPID --value "$1"; }
status_of() { sed -n "s/^$2:\t//p" "/proc/$1/status"; }
has_baseline() { curl -fsS "$url/metrics" | grep -q '^portledger_baseline_approvals [1-9]'; }
is_ready() { curl -fsS "$url/-/ready" >/dev/null 2>&1; }
sees() { curl -fsS "$url/api/v1/listeners" 2>/dev/null | grep -q "\"port\":$1,"; }
drifts() { curl -fsS "$url/api/v1/drift" 2>/dev/null | grep -q "\"port\":$1,"; }
listen() { setsid socat "TCP-LISTEN:$1,bind=0.0.0.0,fork" /dev/null </dev/null >/dev/null 2>&1 & }
kept() { sha256sum "$state"/ledger.jsonl "$state"/ledger.key /etc/portledger/baseline.toml; }

check_installs_and_starts_both_services() {
    dpkg -i /opt/portledger.deb
    systemctl is-active portledger-sensor.service portledger.service
    eventually is_ready
    [ "$(stat -c '%U %G %a' $state)" = "root portledger 3770" ]
}

check_sees_what_opens() {
    listen 8080
    eventually sees 8080
}

check_sees_what_opens_in_another_namespace() {
    ip netns add elsewhere
    ip netns exec elsewhere setsid socat TCP-LISTEN:8090,fork /dev/null </dev/null >/dev/null 2>&1 &
    eventually sees 8090
}

# The unit takes away nothing that tells of sockets to root without one. A container's cgroup namespace does, so that not all
# hooks are to be had here.
check_hears_of_sockets_as_root_without_a_unit_does() {
    # It ends with 3 where something is polled for.
    portledger doctor >/tmp/doctor || [ $? -eq 3 ]
    source=$(sed -n 's/^ *Events: \([a-z]*\),.*/\1/p' /tmp/doctor)
    [ "$source" = bpf ] || [ "$source" = tracepoint ]
    curl -fsS "$url/metrics" | grep "^portledger_event_source{source=\"$source\"} 1"
    curl -fsS "$url/metrics" | grep '^portledger_coverage' | grep -v 'scope="events"' | tee /tmp/coverage
    not grep -vq ' 1$' /tmp/coverage
}

check_runs_with_what_it_needs_and_no_more() {
    exporter=$(main_pid portledger.service)
    sensor=$(main_pid portledger-sensor.service)
    for field in CapEff CapPrm CapBnd CapAmb NoNewPrivs Seccomp; do
        echo "$field: exporter $(status_of "$exporter" $field), sensor $(status_of "$sensor" $field)"
    done
    [ "$(ps -o user= -p "$exporter")" = portledger ]
    [ "$(status_of "$exporter" CapBnd)" = 0000000000000000 ]
    [ "$(status_of "$exporter" NoNewPrivs) $(status_of "$exporter" Seccomp)" = "1 2" ]
    [ "$(status_of "$sensor" NoNewPrivs) $(status_of "$sensor" Seccomp)" = "1 2" ]
    # Nobody but the exporter listens.
    not grep -q "pid=$sensor," <(ss -Hltnp)
}

check_is_as_exposed_as_documented() {
    systemd-analyze security --no-pager portledger.service | tail -n 1
    systemd-analyze security --no-pager portledger-sensor.service | tail -n 1
    systemd-analyze security --no-pager portledger.service --threshold=15 | tail -n 1
}

check_records_what_people_do() {
    portledger learn
    eventually has_baseline
    listen 8443
    eventually drifts 8443
    # It ends with 1, since there is drift.
    told=$(portledger diff) || [ $? -eq 1 ]
    id=$(sed -n 's/^ *id *//p' <<<"$told" | head -n 1)
    portledger approve "$id" --reason "a check of the package"
    eventually not drifts 8443
    portledger audit
    not setpriv --reuid portledger --regid portledger --clear-groups rm -f $state/ledger.jsonl
    ls -l $state/ledger.jsonl
}

check_the_sensor_restarts_alone() {
    before=$(main_pid portledger.service)
    systemctl restart portledger-sensor.service
    listen 8081
    eventually drifts 8081
    [ "$(main_pid portledger.service)" = "$before" ]
}

check_the_exporter_restarts_alone() {
    before=$(main_pid portledger-sensor.service)
    systemctl restart portledger.service
    eventually is_ready
    eventually drifts 8081
    [ "$(main_pid portledger-sensor.service)" = "$before" ]
}

check_what_is_killed_comes_back() {
    for unit in portledger-sensor portledger; do
        before=$(main_pid $unit.service)
        kill -9 "$before"
        eventually test "$(main_pid $unit.service)" != "$before"
    done
    eventually is_ready
    eventually drifts 8081
}

# It is stopped, not ended: only the watchdog finds that out.
check_a_sensor_that_hangs_is_started_again() {
    install -d /run/systemd/system/portledger-sensor.service.d
    printf '[Service]\nWatchdogSec=5\n' >/run/systemd/system/portledger-sensor.service.d/hasty.conf
    systemctl daemon-reload
    systemctl restart portledger-sensor.service
    before=$(main_pid portledger-sensor.service)
    sleep 10
    [ "$(main_pid portledger-sensor.service)" = "$before" ]
    kill -STOP "$before"
    eventually another_sensor_than "$before"
    listen 8082
    eventually drifts 8082
    rm -r /run/systemd/system/portledger-sensor.service.d
    systemctl daemon-reload
    systemctl restart portledger-sensor.service
}

check_metrics_of_its_own_process_are_there() {
    for name in cpu_seconds_total resident_memory_bytes start_time_seconds open_fds; do
        curl -fsS "$url/metrics" | grep "^process_$name "
    done
}

check_a_file_takes_the_place_of_the_port() {
    folder=/var/lib/prometheus/node-exporter/portledger
    install -d -o portledger -g portledger $folder
    install -D /usr/share/doc/portledger/examples/textfile.conf /etc/systemd/system/portledger.service.d/textfile.conf
    systemctl daemon-reload
    systemctl restart portledger.service
    eventually grep -q '^portledger_listeners{' $folder/portledger.prom
    not curl -sS "$url/metrics"
    rm -r /etc/systemd/system/portledger.service.d
    systemctl daemon-reload
    systemctl restart portledger.service
    eventually is_ready
}

check_secrets_are_read_by_root_and_handed_over() {
    private=/etc/portledger/private
    install -d -m 700 $private
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout $private/web.key -out $private/web.pem
    printf 'tls_server_config:\n  cert_file: web.pem\n  key_file: web.key\n' >$private/web.yml
    chmod 600 $private/*
    install -D /usr/share/doc/portledger/examples/credentials.conf \
        /etc/systemd/system/portledger.service.d/credentials.conf
    systemctl daemon-reload
    systemctl restart portledger.service
    eventually curl -fsS --cacert $private/web.pem https://localhost:10433/-/ready
    not setpriv --reuid portledger --regid portledger --clear-groups cat $private/web.key
    rm -r /etc/systemd/system/portledger.service.d $private
    systemctl daemon-reload
    systemctl restart portledger.service
    eventually is_ready
}

check_a_stopped_sensor_is_told_of_and_keeps_the_drift() {
    systemctl stop portledger-sensor.socket portledger-sensor.service
    sleep 35
    not is_ready
    curl -sS "$url/-/ready"
    drifts 8081
    systemctl start portledger-sensor.service
    eventually is_ready
}

check_an_upgrade_keeps_all_and_goes_on() {
    kept >/tmp/before
    dpkg -i /opt/portledger.deb
    systemctl is-active portledger-sensor.service portledger.service
    eventually is_ready
    kept | diff /tmp/before -
}

check_removing_keeps_what_people_did() {
    dpkg -r portledger
    not systemctl is-active portledger-sensor.service portledger.service portledger-sensor.socket
    [ ! -e /usr/bin/portledger ]
    kept | diff /tmp/before -
    dpkg -P portledger
    kept | diff /tmp/before -
    ls -A $state /etc/portledger
}

if [ "${1:-}" = run ]; then
    set -e
    "$2"
    exit
fi
failed=0
all=$(sed -n 's/^\(check_[a-z_]*\)() {$/\1/p' "$0")
for check in $all; do
    if output=$(bash "$0" run "$check" 2>&1); then echo "PASS ${check#check_}"; else
        failed=$((failed + 1))
        echo "FAIL ${check#check_}"
    fi
    printf '%s\n' "$output" | sed 's/^/    /'
done
if [ $failed -gt 0 ]; then
    journalctl -u portledger -u portledger-sensor --no-pager | tail -n 60
    echo "PACKAGE: $failed checks failed"
else
    echo "PACKAGE: all $(wc -w <<<"$all") checks passed"
fi
