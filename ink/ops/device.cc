#include "ink/ops/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <charconv>

#include "ink/accelerate/accelerate_ops.h"
#include "ink/base/check.h"
#include "ink/base/suggest.h"
#include "ink/cpu/cpu_ops.h"
#include "ink/gpu/emu/emu_gpu.h"
#include "ink/gpu/gpu_ops.h"
#include "ink/ref/ref_ops.h"
#ifdef INK_WITH_CUDA
#include "ink/gpu/cuda/cuda_gpu.h"
#endif
#ifdef INK_WITH_METAL
#include "ink/gpu/metal/metal_gpu.h"
#endif

namespace ink {

namespace {

struct Device {
  std::string_view name, description;
  std::unique_ptr<Ops> (*make)(ThreadPool& pool, DType products) = nullptr;
  bool bf16 = true;          // whether products can be bf16
  int (*count)() = nullptr;  // how many this machine has, of what it may have none or many: NAME:1 is the second
  std::unique_ptr<Ops> (*make_numbered)(int number, DType products) = nullptr;
};

// Which libraries are linked is CMake's INK_ACCELERATE and INK_BLAS to say.
constexpr Device kDevices[] = {
#ifdef INK_WITH_ACCELERATE
    {"auto", "cpu or accelerate, whichever measures faster, each operation for itself", make_faster_ops},
#endif
    {"cpu", "vectorised and threaded", [](ThreadPool& pool, DType products) { return make_cpu_ops(pool, products); }},
#ifdef INK_WITH_ACCELERATE
    {"accelerate", "Apple's Accelerate, and cpu where it has nothing",
     [](ThreadPool& pool, DType products) { return make_accelerate_ops(pool, products); }},
#endif
#ifdef INK_WITH_ONEDNN
    {"cpu-onednn", "cpu, with oneDNN's matrix products",
     [](ThreadPool& pool, DType products) { return make_cpu_ops(pool, products, &cpu::onednn()); }, false},
#endif
#ifdef INK_WITH_OPENBLAS
    {"cpu-openblas", "cpu, with OpenBLAS's matrix products",
     [](ThreadPool& pool, DType products) { return make_cpu_ops(pool, products, &cpu::openblas()); }, false},
#endif
    {"ref", "plain loops on one thread: the specification, slow",
     [](ThreadPool&, DType products) -> std::unique_ptr<Ops> { return std::make_unique<RefOps>(products); }},
#ifdef INK_WITH_CUDA
    {.name = "cuda",
     .description = "NVIDIA's GPUs",
     .count = cuda::count_gpus,
     .make_numbered = [](int number, DType products) -> std::unique_ptr<Ops> {
       return std::make_unique<gpu::GpuOps>(cuda::make_cuda_gpu(number, products), products);
     }},
#endif
#ifdef INK_WITH_METAL
    {.name = "metal",
     .description = "Apple's GPUs",
     .make = [](ThreadPool&, DType products) -> std::unique_ptr<Ops> {
       return std::make_unique<gpu::GpuOps>(metal::make_metal_gpu(), products);
     },
     .count = metal::count_gpus},
#endif
    {"emu", "the GPUs' kernels, emulated and checked, very slow",
     [](ThreadPool&, DType products) -> std::unique_ptr<Ops> {
       return std::make_unique<gpu::GpuOps>(emu::make_emu_gpu(), products);
     }},
};

// The number behind the colon of "cuda:1"; 0 without a colon.
int number_of(std::string_view device) {
  const size_t colon = device.find(':');
  if (colon == std::string_view::npos) return 0;
  const std::string_view digits = device.substr(colon + 1);
  int number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number < 0)
    throw UsageError(fmt::format("device '{}': behind the colon comes a GPU's number, from 0", device));
  return number;
}

}  // namespace

std::vector<DeviceInfo> devices() {
  std::vector<DeviceInfo> infos;
  for (const Device& d : kDevices) infos.push_back({std::string(d.name), std::string(d.description)});
  return infos;
}

bool is_present(std::string_view device) {
  return std::ranges::any_of(
      kDevices, [&](const Device& d) { return d.name == device && (d.count == nullptr || d.count() > 0); });
}

std::unique_ptr<Ops> make_ops(std::string_view device, ThreadPool& pool, DType products) {
  assert(products == DType::f32 || products == DType::bf16);
#ifdef INK_WITH_ACCELERATE
  if (constexpr std::string_view kSome = "accelerate:"; device.starts_with(kSome)) {
    return make_accelerate_ops(pool, products, accelerate::parse_uses(device.substr(kSome.size())));
  }
#endif
  std::vector<std::string_view> names;
  for (const Device& d : kDevices) {
    if (d.make_numbered != nullptr && d.name == device.substr(0, device.find(':'))) {
      return d.make_numbered(number_of(device), products);
    }
    if (d.name == device && d.make != nullptr) {
      if (products == DType::bf16 && !d.bf16)
        throw UsageError(fmt::format("the {} device has no bf16 products; use --device cpu", device));
      return d.make(pool, products);
    }
    names.push_back(d.name);
  }
  fail_unknown("device", device, names);
}

}  // namespace ink
