#!/usr/bin/env bash
# Builds the release twice, in folders of different names and lengths, and fails where the bytes differ.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sums=()
for folder in one another/and-deeper; do
    git clone -q --local "$root" "$work/$folder"
    (cd "$work/$folder" && CARGO_TARGET_DIR="$work/$folder/target" "$root/packaging/release.sh")
    sum=$(sha256sum <"$work/$folder/target/release/portledger")
    echo "${sum%% *}  in $folder"
    sums+=("$sum")
    rm -rf "$work/$folder/target/release/deps"
done
[ "${sums[0]}" = "${sums[1]}" ]
