#!/usr/bin/env bash
# The mixin gives what the files say, and what its configuration says of them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
made=$(mktemp -d)
trap 'rm -r "$made"' EXIT
mkdir "$made/json" "$made/rules"

if python3 -c 'import yaml' 2>/dev/null; then
    "$here/../rules/json.sh" "$made/json"
    for json in "$made"/json/*.json; do
        cmp "$json" "$here/../rules/${json##*/}" || { echo "${json##*/} is not what its YAML says: make mixin"; exit 1; }
    done
else
    echo "SKIP rules/*.json: no PyYAML (package python3-yaml)"
fi

jsonnet "$here/mixin.jsonnet" >"$made/other"
for was in 'job=\"portledger\"' 'job=~\"node|node' /runbooks/PortledgerDrift\"; do
    if grep -F "$was" "$made/other"; then echo "the configuration of the mixin does not reach $was"; exit 1; fi
done
for is in 'job=\"ports\"' 'job=\"hosts\"' 'https://wiki.example.org/runbooks/PortledgerDrift.md'; do
    grep -qF "$is" "$made/other" || { echo "the configuration of the mixin does not reach what becomes $is"; exit 1; }
done
jsonnetfmt --test "$here"/mixin.jsonnet "$here"/../*.libsonnet "$here"/../*/*.libsonnet
for part in Alerts Rules; do
    jsonnet --exec "(import '$here/../mixin.libsonnet').prometheus$part" >"$made/rules/$part.yml"
done
promtool check rules "$made"/rules/*.yml
