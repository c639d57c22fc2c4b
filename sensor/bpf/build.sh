#!/usr/bin/env bash
# Builds the objects into the folder named, the same bytes wherever the sources lie. Wants the clang of clang-version, and the
# headers of libbpf.
set -euo pipefail
out=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"
headers=/usr/include/$(gcc -print-multiarch 2>/dev/null || echo x86_64-linux-gnu)
for source in *.bpf.c; do
	object=$out/${source%.c}.o
	clang -target bpfel -mcpu=v3 -O2 -g -Wall -Werror -ffile-prefix-map="$PWD=." -fdebug-compilation-dir=. \
		-isystem "$headers" -c "$source" -o "$object"
	llvm-strip -g "$object"
done
