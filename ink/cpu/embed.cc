// Embedding rows: memory traffic only, which the compiler vectorises.
#include "ink/cpu/kernels.h"
#include "ink/tensor/cast.h"

namespace ink::cpu {

void embed(ThreadPool& pool, const Embed& a) {
  const int64_t T = a.out.shape[1], C = a.out.shape[2];
  float* out = a.out.f32();
  const float* wpe = a.wpe.f32();
  const int32_t* tokens = a.tokens.as<int32_t>();
  const int32_t* positions = a.positions ? a.positions.as<int32_t>() : nullptr;
  pool.run_range(a.out.rows(), std::max<int64_t>(1, kGrain / C), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* const to = out + row * C;
      const float* position = wpe + (positions != nullptr ? positions[row] : row % T) * C;
      to_f32(a.wte.dtype, a.wte.data + bytes_of(a.wte.dtype, tokens[row] * C), {to, static_cast<size_t>(C)});
      for (int64_t c = 0; c < C; ++c) to[c] += position[c];
    }
  });
}

// A token may come many times: a task takes some columns of all rows, so that every sum runs in the order of the rows.
void embed_backward(ThreadPool& pool, const EmbedBackward& a) {
  constexpr int64_t kColumns = 64;
  const int64_t T = a.dout.shape[1], C = a.dout.shape[2];
  const float* dout = a.dout.f32();
  float* dwte = a.dwte.f32();
  float* dwpe = a.dwpe.f32();
  const int32_t* tokens = a.tokens.as<int32_t>();
  pool.run_range(C, kColumns, [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < a.dout.rows(); ++row) {
      const float* d = dout + row * C;
      float* token = dwte + tokens[row] * C;
      float* position = dwpe + row % T * C;
      for (int64_t c = begin; c < end; ++c) token[c] += d[c];
      for (int64_t c = begin; c < end; ++c) position[c] += d[c];
    }
  });
}

}  // namespace ink::cpu
