#!/usr/bin/env bash
# Builds what is shipped: locked, and without the paths of this machine, so that others can build the same bytes.
set -euo pipefail
cargo=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
export RUSTFLAGS="--remap-path-prefix=$PWD=/portledger --remap-path-prefix=$cargo=/cargo --remap-path-prefix=$sysroot=/rust"
export CFLAGS="-ffile-prefix-map=$cargo=/cargo -ffile-prefix-map=$PWD=/portledger"
export CARGO_INCREMENTAL=0 SOURCE_DATE_EPOCH=0 LC_ALL=C TZ=UTC
exec cargo build --release --locked
