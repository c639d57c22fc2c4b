#!/usr/bin/env bash
# Writes the rules as JSON, for the mixin, into a folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for rules in "$here"/*.yml; do
    name=${rules##*/}
    python3 -c 'import json, sys, yaml
json.dump(yaml.safe_load(sys.stdin), sys.stdout, ensure_ascii=False, indent=1)
print()' <"$rules" >"$1/${name%.yml}.json"
done
