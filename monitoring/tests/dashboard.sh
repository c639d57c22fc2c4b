#!/usr/bin/env bash
# The dashboard is valid by Grafana's own schema, as its SDK for TypeScript has it; and what is not valid is found.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
made="$here/../../target/grafana"
if ! command -v npm >/dev/null; then
    echo "SKIP dashboard: no npm to install Grafana's schema by"
    exit
fi
mkdir -p "$made"
if ! cmp -s "$here/grafana/package-lock.json" "$made/installed"; then
    cp "$here"/grafana/package*.json "$made"
    if ! (cd "$made" && npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1); then
        echo "SKIP dashboard: Grafana's schema cannot be installed: $(tail -n 1 "$made/npm.log")"
        exit
    fi
    cp "$made/package-lock.json" "$made/installed"
fi

holds() {
    cat "$here/grafana/schema.ts" - >"$made/dashboard.ts"
    (cd "$made" && node_modules/.bin/tsc --noEmit --strict --skipLibCheck --module nodenext dashboard.ts)
}

dashboard="$here/../dashboards/portledger.json"
holds <"$dashboard" || { echo "${dashboard##*/} is not valid by Grafana's schema"; exit 1; }
for wrong in 's/"displayMode": "list"/"displayMode": "lists"/' 's/"graphMode"/"graphModes"/' 's/"expr"/"exprs"/' \
    's/"type": "stat"/"type": "stats"/'; do
    if sed "$wrong" "$dashboard" | holds >/dev/null; then echo "a dashboard that is wrong by $wrong is held for valid"; exit 1; fi
done
