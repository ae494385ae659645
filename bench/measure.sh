#!/usr/bin/env bash
# Measures all figures of docs/benchmarks.md and docs/performance.md again, and writes them there: about half an hour on
# two cores. Run it on a machine that does nothing else.
#   PYTHONS     interpreters with torch, several separated by spaces; none: without PyTorch
#   LLMC        llm.c's built train_gpt2, in its own folder with its files; none: without llm.c
#   LLMC_LONG   the same with B=1 T=1024 compiled in
#   INK         the program, build/release/ink by default
#   ROUNDS      of every comparison, 5 by default
# A section can be named to measure it alone: b4-t64, b1-t1024, char, avx2, step, step-long, memory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ink=${INK:-build/release/ink}
rounds=${ROUNDS:-5}
python_options=()
for python in ${PYTHONS:-}; do python_options+=(--python "$python"); done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[[ $# -gt 0 ]] || set -- b4-t64 b1-t1024 char avx2 step step-long memory

# compare SECTION "TITLE" [options of compare.py ...]
compare() {
  local section=$1 title=$2
  shift 2
  bench/compare.py --ink "$ink" --rounds "$rounds" "${python_options[@]}" "$@" --out-dir "$work/$section" >"$work/text"
  mkdir -p docs/charts
  cp "$work/$section/chart.svg" "docs/charts/$section.svg"
  { printf '![%s](charts/%s.svg)\n\n' "$title" "$section" && cat "$work/text"; } |
    bench/doc_section.py docs/benchmarks.md "$section"
}

# ours DOCUMENT SECTION [options of ink bench train ...]
ours() {
  local document=$1 section=$2
  shift 2
  # shellcheck disable=SC2016  # the backquotes are Markdown's
  { "$ink" bench train "$@" && printf '\nMeasured with `ink bench train %s`.\n' "$*"; } |
    bench/doc_section.py "$document" "$section"
}

llmc=() llmc_long=()
[[ -z ${LLMC:-} ]] || llmc=(--llmc "$LLMC")
[[ -z ${LLMC_LONG:-} ]] || llmc_long=(--llmc "$LLMC_LONG" --llmc-shape 1x1024)

for section in "$@"; do
  echo "measuring $section" >&2
  case $section in
    b4-t64) compare b4-t64 "GPT-2 124M, B=4 T=64" "${llmc[@]}" ;;
    b1-t1024) compare b1-t1024 "GPT-2 124M, B=1 T=1024" --batch 1 --seq-len 1024 --steps 2 "${llmc_long[@]}" ;;
    char) compare char "The character model" --model char --batch 12 --naive --steps 50 ;;
    avx2) compare avx2 "GPT-2 124M, B=4 T=64, AVX2 alone" --isa avx2 ;;
    step) ours docs/performance.md step --steps 20 --scaling ;;
    step-long) ours docs/performance.md step-long --batch 1 --seq-len 1024 --steps 10 ;;
    memory)
      for recompute in none block; do
        # shellcheck disable=SC2016
        printf '`--recompute %s`:\n\n' "$recompute"
        "$ink" bench train --batch 4 --seq-len 1024 --steps 2 --recompute "$recompute" | sed -n '/^| one step/,/^$/p'
      done | bench/doc_section.py docs/benchmarks.md memory
      ;;
    *) echo "measure: no section '$section'" >&2 && exit 2 ;;
  esac
done
