#!/usr/bin/env bash
# Builds the fuzz targets with clang's libFuzzer and runs them one after another, each from its seed corpus.
#   scripts/fuzz.sh [--seconds N] [--runs N] [--seed N] [TARGET...]     all targets unless some are named
# Stops at the first finding and says which file holds the input: mend the parser, then add the input to
# fuzz/corpus/TARGET, where every build's tests run it. What a run learns is kept in build/fuzz/corpus for the next.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  echo "usage: scripts/fuzz.sh [--seconds N] [--runs N] [--seed N] [TARGET...]" >&2
  exit 2
}

seconds=60
runs=-1
seed=0 # libFuzzer's word for a new one each time
targets=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --seconds | --runs | --seed)
      [[ ${2:-} =~ ^[0-9]+$ ]] || usage
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    -*) usage ;;
    *) targets+=("$1") ;;
  esac
  shift
done

scripts/setup.sh --dev
compiler=$(command -v clang++ || command -v clang++-14) || { echo "fuzz: no clang++" >&2 && exit 1; }
cmake --preset fuzz --log-level=WARNING -DCMAKE_CXX_COMPILER="$compiler" >/dev/null
cmake --build --preset fuzz
if [[ ${#targets[@]} -eq 0 ]]; then
  for program in build/fuzz/fuzz/fuzz_*; do targets+=("${program##*/fuzz_}"); done
fi

# The targets write their inputs to files: in memory where the system has a folder for that.
shm=/dev/shm
[[ -d $shm && -w $shm ]] || shm=${TMPDIR:-/tmp}
TMPDIR=$(mktemp -d "$shm/ink-fuzz-XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
export ASAN_OPTIONS=detect_stack_use_after_return=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}
export UBSAN_OPTIONS=print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}

mkdir -p build/fuzz/findings
for target in "${targets[@]}"; do
  program=build/fuzz/fuzz/fuzz_$target
  [[ -x $program ]] || { echo "fuzz: no target $target; see fuzz/CMakeLists.txt" >&2 && exit 2; }
  learned=build/fuzz/corpus/$target
  mkdir -p "$learned"
  options=(-max_total_time="$seconds" -runs="$runs" -seed="$seed" -max_len=16384 -timeout="${INK_FUZZ_TIMEOUT:-5}"
    -rss_limit_mb=512 -malloc_limit_mb=256 -print_final_stats=1 -print_funcs=0 -artifact_prefix="build/fuzz/findings/$target-")
  [[ ! -f fuzz/dict/$target.dict ]] || options+=(-dict="fuzz/dict/$target.dict")
  # Only the figures, unless something is found: a target prints thousands of lines.
  log=$learned.log
  if "$program" "${options[@]}" "$learned" "fuzz/corpus/$target" >"$log" 2>&1; then
    awk -v target="$target" '
      /cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") edges = $(i + 1) }
      /^Done [0-9]+ runs in/ { runs = $2; seconds = $5 }
      END {
        printf "fuzz: %-16s %10d executions in %4d s, %7d a second, %5d edges\n", target, runs, seconds,
          runs / (seconds > 0 ? seconds : 1), edges
      }' "$log"
  else
    tail -n 80 "$log" >&2
    echo "fuzz: $target: a finding; the input is in build/fuzz/findings, the whole log is $log" >&2
    exit 1
  fi
done
