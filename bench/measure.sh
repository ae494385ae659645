#!/usr/bin/env bash
# Measures all figures of docs/benchmarks.md and docs/performance.md again, and writes them there: about half an hour on
# two cores. Run it on a machine that does nothing else.
#   PYTHONS     interpreters with torch, several separated by spaces; none: without PyTorch
#   LLMC        llm.c's built train_gpt2, in its own folder with its files; none: without llm.c
#   LLMC_LONG   the same with B=1 T=1024 compiled in
#   LLAMA_BENCH llama.cpp's llama-bench, LLAMA_SERVER its llama-server; none: without llama.cpp
#   INK         the program, build/release/ink by default
#   ROUNDS      of every comparison, 5 by default
#   MODEL       of the sections memory and start, gpt2 by default
# A section can be named to measure it alone: b4-t64, b1-t1024, char, avx2, step, step-long, memory, start, demo, infer,
# serve.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ink=${INK:-build/release/ink}
rounds=${ROUNDS:-5}
model=${MODEL:-gpt2}
python_options=()
for python in ${PYTHONS:-}; do python_options+=(--python "$python"); done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[[ $# -gt 0 ]] || set -- b4-t64 b1-t1024 char avx2 step step-long memory start demo infer serve

# compare SECTION "TITLE" [options of compare.py ...]
compare() {
  local section=$1 title=$2
  shift 2
  bench/compare.py --ink "$ink" --rounds "$rounds" \
    ${python_options[@]+"${python_options[@]}"} "$@" --out-dir "$work/$section" >"$work/text"
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
  "$ink" bench train "$@" >"$work/text"
  # shellcheck disable=SC2016
  printf '\nMeasured with `ink bench train %s`.\n' "$*" >>"$work/text"
  bench/doc_section.py "$document" "$section" <"$work/text"
}

# timed COMMAND ...: prints its wall time in seconds and its peak memory in bytes; what it prints goes to $work/log.
timed() {
  python3 - "$@" 2>"$work/error" <<'END' || { tail -n 1 "$work/error" >&2; return 1; }
import os, subprocess, sys, time
start = time.perf_counter()
with open(os.environ["LOG"], "w") as log:
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    _, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
process.returncode = status
if status != 0:
    with open(os.environ["LOG"]) as log:
        sys.exit("measure: %s: %s" % (sys.argv[1], (log.read().strip().splitlines() or ["it failed"])[-1]))
print("%.3f %d" % (seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)))
END
}
export LOG=$work/log

# Text for runs whose losses do not matter: the project's own documents, twice.
some_text() { cat docs/*.md README.md docs/*.md README.md >"$work/text.txt"; }

memory() {
  local recompute foretold measured peak seconds options
  some_text
  # shellcheck disable=SC2016
  printf '| `--recompute` | foretold | measured | difference | seconds a step |\n|---|--:|--:|--:|--:|\n'
  for recompute in none block; do
    options=(
      --model "$model" --tokenizer gpt2 --data "$work/text.txt" --batch 4 --seq-len 1024 --steps 2
      --recompute "$recompute" --val-every 0 --sample-every 0 --checkpoint-every 0 --out "$work/memory" --overwrite
    )
    foretold=$("$ink" train "${options[@]}" --dry-run)
    foretold=$(awk '$1 == "peak" { print $3 }' <<<"$foretold")
    measured=$(timed "$ink" train "${options[@]}")
    peak=${measured#* }
    seconds=$(python3 -c 'import json, statistics, sys
steps = [json.loads(line) for line in open(sys.argv[1])]
print(statistics.median(s["seconds"] for s in steps if "seconds" in s and s["step"] > 0))' "$work/memory/metrics.jsonl")
    LC_ALL=C awk -v mode="$recompute" -v foretold="$foretold" -v peak="$peak" -v seconds="$seconds" 'BEGIN {
      if (foretold <= 0 || peak <= 0) exit 1
      printf "| %s | %.2f GB | %.2f GB | %+.1f%% | %.2f |\n",
        mode, foretold / 1e9, peak / 1e9, 100 * (peak / foretold - 1), seconds }'
  done
  # shellcheck disable=SC2016
  printf '\nMeasured with `ink train --model %s --batch 4 --seq-len 1024 --steps 2`, of which the second step counts for the time.\n' "$model"
}

start() {
  local options run times
  some_text
  options=(--batch 4 --seq-len 64 --val-every 0 --sample-every 0 --steps 0)
  timed "$ink" train --model "$model" --tokenizer gpt2 --data "$work/text.txt" "${options[@]}" --checkpoint-every 1 \
    --out "$work/init" >"$work/warm"
  options+=(--model "$work/init" --train-data "$work/init/data/train_*.bin" --val-data "$work/init/data/val_*.bin")
  options+=(--checkpoint-every 0 --out "")
  timed "$ink" train "${options[@]}" >"$work/warm"  # from now on the file is cached
  times=""
  for run in 1 2 3; do
    run=$(timed "$ink" train "${options[@]}")
    times+="${run% *}"$'\n'
  done
  times=$(LC_ALL=C sort -n <<<"${times%$'\n'}")
  LC_ALL=C awk '{ t[NR] = $1 }
    END { printf "%.2f s, the median of three runs (%.2f–%.2f s).\n", t[2], t[1], t[3] }' <<<"$times"
  # shellcheck disable=SC2016
  printf '\nMeasured with `ink train -e INIT -i INIT/data/train_*.bin -j INIT/data/val_*.bin -b 4 -t 64 -x 0 -v 0 -s 0 -n 0 -o ""`.\n'
}

demo() {
  local data measured loss defaults=()
  data=$("$ink" data get tinyshakespeare | tail -n 1)
  eval "$(sed -n '/^defaults=(/,/^)/p' scripts/demo.sh)"
  measured=$(timed "$ink" train "${defaults[@]}" --data "$data" --out "$work/demo" --overwrite)
  loss=$(python3 -c 'import json, sys
print("%.4f" % [s for s in map(json.loads, open(sys.argv[1])) if "val_loss" in s][-1]["val_loss"])' "$work/demo/metrics.jsonl")
  # shellcheck disable=SC2016
  LC_ALL=C printf '%.1f s, evaluations and checkpoints included, to a validation loss of %s.\n\nMeasured with the `ink train` of `scripts/demo.sh`.\n' \
    "${measured% *}" "$loss"
}

# Random weights, whose speed is that of any others.
random_weights() {
  some_text
  timed "$ink" train --model "$model" --tokenizer gpt2 --data "$work/text.txt" --batch 1 --seq-len 64 --val-every 0 \
    --sample-every 0 --steps 0 --checkpoint-every 1 --out "$work/infer-init" --overwrite >"$work/warm"
}

infer() {
  local llama=()
  [[ -z ${LLAMA_BENCH:-} ]] || llama=(--llama-bench "$LLAMA_BENCH")
  random_weights
  bench/compare_infer.py --ink "$ink" ${llama[@]+"${llama[@]}"} --model "$work/infer-init" --rounds "$rounds" \
    --decode 128 --out-dir "$work/infer"
  # shellcheck disable=SC2016
  printf '\nMeasured with `bench/compare_infer.py --llama-bench llama-bench --model %s --decode 128`.\n' "$model"
}

serve() {
  local peer=() used=""
  if [[ -n ${LLAMA_SERVER:-} ]]; then
    peer=(--peer "$LLAMA_SERVER -m {model} --port {port} -t $(getconf _NPROCESSORS_ONLN) -np 8 -c 8192")
    used=" --peer \"llama-server${peer[1]#"$LLAMA_SERVER"}\""
  fi
  random_weights
  "$ink" quantize "$work/infer-init" "$work/serve.gguf" --type q8_0 >"$work/warm"
  bench/serve_load.py --ink "$ink" ${peer[@]+"${peer[@]}"} --model "$work/serve.gguf" --rounds "$rounds"
  # shellcheck disable=SC2016
  printf '\nMeasured with `bench/serve_load.py --model %s-q8_0.gguf%s`, %s rounds, medians.\n' "$model" "$used" "$rounds"
}

llmc=() llmc_long=()
[[ -z ${LLMC:-} ]] || llmc=(--llmc "$LLMC")
[[ -z ${LLMC_LONG:-} ]] || llmc_long=(--llmc "$LLMC_LONG" --llmc-shape 1x1024)

for section in "$@"; do
  echo "measuring $section" >&2
  case $section in
    b4-t64) compare b4-t64 "GPT-2 124M, B=4 T=64" --compile ${llmc[@]+"${llmc[@]}"} ;;
    b1-t1024)
      compare b1-t1024 "GPT-2 124M, B=1 T=1024" --batch 1 --seq-len 1024 --steps 2 --compile \
        ${llmc_long[@]+"${llmc_long[@]}"}
      ;;
    char) compare char "The character model" --model char --batch 12 --naive --steps 50 ;;
    avx2) compare avx2 "GPT-2 124M, B=4 T=64, AVX2 alone" --isa avx2 ;;
    step) ours docs/performance.md step --steps 20 --scaling ;;
    step-long) ours docs/performance.md step-long --batch 1 --seq-len 1024 --steps 10 ;;
    memory | start | demo | infer | serve)
      "$section" >"$work/figures"
      bench/doc_section.py docs/benchmarks.md "$section" <"$work/figures"
      ;;
    *) echo "measure: no section '$section'" >&2 && exit 2 ;;
  esac
done
