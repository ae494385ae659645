#!/usr/bin/env bash
# Reads the kernels' text for Metal with clang, in two ways, and shows that each finds what it is there for.
#   lint.sh CLANG TEXT     TEXT: what cmake/MetalSource.cmake writes
# Exit status 77 where this clang cannot: skipped.
set -euo pipefail
clang=$1 text=$2 here=$(dirname "${BASH_SOURCE[0]}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

flags=(-fsyntax-only -D__METAL_VERSION__=310 -isystem "$here" -Wall -Wextra -Werror -Wno-unknown-attributes
  -Wno-unused-function -Wno-unused-const-variable -Wno-unused-parameter)

# As OpenCL C++: pointers of one address space are none of another, shared arrays are in kernels only; no double.
opencl() {
  "$clang" -x cl -cl-std=clc++2021 -target spir64 -cl-no-stdinc -Xclang -cl-ext=-cl_khr_fp64,-__opencl_c_fp64 \
    -DINK_LINT_OPENCL "${flags[@]}" "$@"
}
# As C++14, Metal's language: pointers without an address space are others than those with one.
attributes() {
  local last=${*: -1}
  sed 's/threadgroup T name\[count\]/static &/' "$last" >"$work/attributes.metal"  # variables must be somewhere
  "$clang" -x c++ -std=c++14 -pedantic-errors "${flags[@]}" "${@:1:$#-1}" "$work/attributes.metal"
}

echo '__kernel void f(__global float* p) { p[0] = 1; }' >"$work/probe.cl"
"$clang" -x cl -cl-std=clc++2021 -target spir64 -cl-no-stdinc -fsyntax-only "$work/probe.cl" 2>"$work/log" ||
  { echo "no OpenCL C++ here: $(head -1 "$work/log")" && exit 77; }

for real in -UINK_REAL_BF16 -DINK_REAL_BF16; do
  opencl "$real" "$text"
  attributes "$real" "$text"
done

# finds MODE FAULT WORDS: the text with the fault behind it is refused, with these words.
failed=0
finds() {
  { cat "$text" && printf '\n#line 1 "planted"\n%s\n' "$2"; } >"$work/planted.metal"
  if "$1" "$work/planted.metal" >"$work/log" 2>&1; then
    echo "lint: $1 does not find: $2" >&2 && failed=1
  elif ! grep -q "^planted:.*$3" "$work/log"; then
    echo "lint: $1 finds something else in: $2" >&2 && head -3 "$work/log" >&2 && failed=1
  fi
}
finds attributes 'FUNCTION float f(GLOBAL(const float) p) { const float* q = p; return q[0]; }' 'cannot initialize'
finds attributes 'FUNCTION float f(float* p) { return p[0]; } FUNCTION float g(GLOBAL(float) p) { return f(p); }' \
  'no matching function'
finds attributes 'FUNCTION float f(float x) { if constexpr (sizeof(real) == 2) return 0; return x; }' "C++17"
finds opencl 'FUNCTION float f(GLOBAL(float) p, SHARED(float) q) { p = q; return p[0]; }' 'changes address space'
finds opencl 'FUNCTION float f(SHARED(const float) p) { return load(p, 0); }' 'no matching function'
finds opencl 'FUNCTION int f(int thread) { return thread; }' 'expected'
finds opencl 'FUNCTION int f() { return THREAD; }' 'ink_thread'
finds opencl 'FUNCTION float f(int i) { SHARED_ARRAY(float, s, 32); s[i] = 1; return s[0]; }' 'local address space'
finds opencl 'KERNEL(f, GLOBAL(float) p, ARGS(FillArgs) a) { for (int i = 0; i < 2; ++i) { SHARED_ARRAY(float, s, 32); p[i] = s[i]; } }' \
  'local address space'
finds opencl 'FUNCTION float f(float x) { double y = x; return float(y); }' 'double'
finds opencl 'FUNCTION float f(float x) { return std::exp(x); }' "'std'"
finds opencl 'FUNCTION float f(float (*g)(float)) { return g(1); }' 'function'
exit $failed
