#!/usr/bin/env bash
# Makes build/readers, the Python environment of tests/readers/: transformers, onnxruntime, gguf and what they need.
# Does nothing where it is there already. Without Python or network it says so in a line and is content: those tests
# then skip. scripts/setup.sh --readers calls it, after the packages of the system that it builds on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

list=scripts/readers.txt folder=build/readers
python=python3
[[ $(uname -s) == Darwin ]] || python=/usr/bin/python3  # the one that the system's torch belongs to

# The list it was made from, which is copied last, is the sign of a whole one.
! cmp -s "$list" "$folder/readers.txt" || exit 0

skip() {
  rm -rf "$folder"
  echo "readers: $1; the tests with other programs' readers will skip" >&2
  exit 0
}

rm -rf "$folder"
echo "readers: making $folder"
log=$("$python" -m venv --system-site-packages "$folder" 2>&1) || skip "no Python environment: ${log##*$'\n'}"
log=$("$folder/bin/python" -m pip install --quiet --disable-pip-version-check --retries 2 --timeout 30 \
  --requirement "$list" 2>&1) || skip "pip could not install $list: ${log##*$'\n'}"
"$folder/bin/python" -c 'import torch' 2>/dev/null || echo "readers: no torch here: some of their tests will skip" >&2
cp "$list" "$folder/readers.txt"
