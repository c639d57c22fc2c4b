#!/usr/bin/env bash
# Builds the object into the file named, the same bytes wherever the source lies. Wants the clang of clang-version, and the
# headers of libbpf.
set -euo pipefail
out=$(realpath -m "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"
headers=/usr/include/$(gcc -print-multiarch 2>/dev/null || echo x86_64-linux-gnu)
clang -target bpfel -mcpu=v3 -O2 -g -Wall -Werror -ffile-prefix-map="$PWD=." -fdebug-compilation-dir=. \
	-isystem "$headers" -c portledger.bpf.c -o "$out"
llvm-strip -g "$out"
