#!/usr/bin/env bash
# 300 hosts with one drift, and with one approval that ends: 300 alerts each that agree in `alertname` and `drift`, by which
# alertmanager.yml groups them, so one page; and one of the fleet. A script, for promtool wants each of its series written out.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
test=$(mktemp --suffix=.yml)
trap 'rm -f "$test"' EXIT
{
    printf 'rule_files: ["%s/../rules/drift.yml"]\nevaluation_interval: 30s\ntests:\n' "$here"
    printf '  - name: 300 hosts with the same drift\n    interval: 30s\n    input_series:\n'
    for host in $(seq 300); do
        own="job=\"portledger\",instance=\"host-$host:10433\""
        drift="$own,drift=\"s1-0123456789ab\""
        printf "      - {series: 'up{%s}', values: '1x4'}\n" "$own"
        printf "      - {series: 'portledger_drift_first_seen_timestamp_seconds{%s}', values: '%sx4'}\n" "$drift" "$host"
        printf "      - {series: 'portledger_drift_info{%s,kind=\"unapproved\",severity=\"critical\"}', values: '1x4'}\n" "$drift"
        printf "      - {series: 'portledger_approval_days_left{%s,approval=\"web\"}', values: '3x20'}\n" "$own"
    done
    cat <<'TESTS'
    promql_expr_test:
      - eval_time: 1m
        expr: count by (alertname, drift) (ALERTS{alertstate="firing"})
        exp_samples:
          - {labels: '{alertname="PortledgerDrift",drift="s1-0123456789ab"}', value: 300}
          - {labels: '{alertname="PortledgerFleetDrift",drift="s1-0123456789ab"}', value: 1}
      - eval_time: 8m
        expr: count by (alertname, drift) (ALERTS{alertstate="firing",alertname="PortledgerApprovalExpires"})
        exp_samples: [{labels: '{alertname="PortledgerApprovalExpires",drift="web"}', value: 300}]
TESTS
} >"$test"
promtool test rules "$test"
