#!/usr/bin/env bash
# Compiles the kernels' text with Xcode's compiler for Metal.   compile.sh TEXT [OPTION ...]
# Exit status 77 where there is none (Apple's command line tools alone have none): skipped.
set -euo pipefail
text=$1
shift
xcrun -sdk macosx --find metal >/dev/null 2>&1 || { echo "no Metal compiler here" && exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
xcrun -sdk macosx metal -std=metal3.0 -fno-fast-math -c "$text" -o "$work/kernels.air" "$@"
