#!/usr/bin/env bash
# Builds the project and runs every test, after installing what is missing.
#   scripts/test.sh [--preset NAME] [CTEST OPTIONS]     for example: scripts/test.sh --preset asan -R Tokenizer
# The preset is one of CMakePresets.json: release unless said here or in INK_PRESET.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

preset=${INK_PRESET:-release}
case ${1:-} in
  --preset) preset=${2:?--preset needs a name} && shift 2 ;;
  --preset=*) preset=${1#*=} && shift ;;
esac

"$root/scripts/setup.sh"
cd "$root"  # presets are found from here
cmake --preset "$preset" --log-level=WARNING
cmake --build --preset "$preset"
exec ctest --preset "$preset" --parallel "$(getconf _NPROCESSORS_ONLN)" "$@"
