#!/usr/bin/env bash
# Checks format, C++ pitfalls and shell scripts: clang-format 14, clang-tidy 14, shellcheck. Changes nothing.
#   scripts/lint.sh [--preset NAME] [format] [tidy] [shell]     all of them unless some are named
# clang-tidy reads the compile commands of the preset's build folder: ci unless said here or in INK_PRESET.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=${INK_PRESET:-ci}
case ${1:-} in
  --preset) preset=${2:?--preset needs a name} && shift 2 ;;
  --preset=*) preset=${1#*=} && shift ;;
esac
[[ $# -gt 0 ]] || set -- shell format tidy

# Prints the path of the tool $1, version 14: other versions format and warn differently.
tool_14() {
  local path
  for path in "$1-14" "$1"; do
    if "$path" --version 2>/dev/null | grep -q 'version 14\.'; then
      command -v "$path" && return
    fi
  done
  echo "lint: no $1 of version 14; run scripts/setup.sh --dev (Linux) or: pip install $1==14.0.6" >&2
  return 1
}

check_format() {
  local clang_format
  clang_format=$(tool_14 clang-format)
  git ls-files -z '*.h' '*.cc' | xargs -0 -r "$clang_format" --dry-run -Werror ||
    { echo "lint: run clang-format -i on the files above" >&2 && return 1; }
}

check_tidy() {
  local clang_tidy jobs
  clang_tidy=$(tool_14 clang-tidy)
  jobs=$(getconf _NPROCESSORS_ONLN)
  cmake --preset "$preset" --log-level=WARNING >/dev/null
  # The files of ink/ and cli/ that this machine builds. -Wno-...: the compile commands are those of another compiler;
  # warnings count as errors through .clang-tidy.
  sed -nE "s#^ *\"file\": \"($PWD/(ink|cli)/.*)\".*#\1#p" "build/$preset/compile_commands.json" | sort -u | tr '\n' '\0' |
    xargs -0 -r -n 1 -P "$jobs" "$clang_tidy" --quiet -p "build/$preset" \
      --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-error 2>&1 |
    sed '/^[0-9]* warnings* generated\.$/d' ||
    { echo "lint: clang-tidy found the above" >&2 && return 1; }
}

check_shell() {
  shellcheck .ci/run bench/*.sh scripts/*.sh
}

for check in "$@"; do
  case $check in
    format | tidy | shell) "check_$check" ;;
    *) echo "lint: unknown check $check; one of format, tidy, shell" >&2 && exit 2 ;;
  esac
done
