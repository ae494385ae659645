#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: builds the cuda device, runs every test that it is in, the kernels' tests under
# compute-sanitizer, trains ten steps on cpu and on cuda, and times training steps. Needs nvcc and a driver.
#   scripts/gpu_check.sh [FOLDER]     logs and figures go to FOLDER: build/gpu_check unless said
# INK_DEVICE=cuda:1 names another GPU for the training and the timing; CUDA_VISIBLE_DEVICES does for all.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${1:-build/gpu_check}
device=${INK_DEVICE:-cuda}
mkdir -p "$out"

step() {
  local name=$1
  shift
  echo "gpu_check: $name: $*"
  "$@" 2>&1 | tee "$out/$name.log"
}

command -v nvcc >/dev/null || { echo "gpu_check: no nvcc in PATH" >&2 && exit 1; }
nvidia-smi >"$out/nvidia-smi.log" 2>&1 || { echo "gpu_check: nvidia-smi finds no GPU" >&2 && exit 1; }

step configure cmake --preset cuda
step build cmake --build --preset cuda --target ink gpu_test gpu_train_test model_test ops_test
bin=build/cuda
step info "$bin/ink" info
grep -E '^ +cuda ' "$out/info.log" | grep -vq 'none:' || { echo "gpu_check: ink sees no GPU" >&2 && exit 1; }

step ops "$bin/tests/gpu_test"
step devices "$bin/tests/ops_test" --gtest_filter='Devices.*'
step model "$bin/tests/model_test" --gtest_filter='*/cuda'
step training "$bin/tests/gpu_train_test"

# The emulator's turns are slow under it and nothing to it; the model's tests use every kernel of training.
sanitizer=$(command -v compute-sanitizer || true)
if [[ -z $sanitizer ]]; then
  echo "gpu_check: no compute-sanitizer in PATH; skipped" | tee "$out/sanitizer.log"
else
  for tool in memcheck racecheck initcheck synccheck; do
    step "sanitizer-$tool" "$sanitizer" --tool "$tool" --error-exitcode 1 \
      "$bin/tests/model_test" --gtest_filter='*Logits/cuda:*Gradients/cuda'
  done
  step sanitizer-ops "$sanitizer" --tool memcheck --error-exitcode 1 \
    "$bin/tests/gpu_test" --gtest_filter='*GpuOpsTest*'
fi

# One step of GPT-2 124M on 8 x 1024 tokens, by whole steps and by operations.
for dtype in f32 bf16; do
  step "bench-train-$dtype" "$bin/ink" bench train --device "$device" --dtype "$dtype" --batch 8 --seq-len 1024 \
    --json "$out/bench-train-$dtype.json"
done
step bench-ops "$bin/ink" bench ops --device "$device" --json "$out/bench-ops.json"
step bench-infer "$bin/ink" bench infer --device "$device" --json "$out/bench-infer.json"
echo "gpu_check: all passed; logs in $out"
