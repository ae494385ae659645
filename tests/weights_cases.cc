#include "tests/weights_cases.h"

#include <algorithm>

namespace ink {

namespace {

using Epilogue = Product::Epilogue;

// A tensor of the host where ops can reach it, as dtype: as it is, or a copy at an address as odd.
class Placed {
 public:
  Placed(Ops& ops, const Tensor& host, DType dtype) : ops_(ops), host_(host), there_(host) {
    if (!host || ops.reads_host_memory()) return;
    const size_t odd = reinterpret_cast<uintptr_t>(host.data) % 64 * block_bytes(dtype) / block_bytes(host.dtype);
    there_.dtype = dtype;
    memory_ = ops.allocate(odd + there_.bytes());
    there_.data = memory_->data() + odd;
    std::vector<std::byte> bytes(there_.bytes());
    if (dtype == host.dtype) {
      std::memcpy(bytes.data(), host.data, bytes.size());
    } else {
      from_f32(host.span<float>(), dtype, bytes.data());
    }
    ops.upload(there_, bytes.data());
  }
  const Tensor& get() const { return there_; }
  void download() const {
    if (memory_ == nullptr) return;
    std::vector<std::byte> bytes(there_.bytes());
    ops_.download(bytes.data(), there_);
    to_f32(there_.dtype, bytes.data(), host_.span<float>());
  }

 private:
  Ops& ops_;
  Tensor host_, there_;
  std::unique_ptr<Buffer> memory_;
};

}  // namespace

Output multiply(Ops& ops, const Product& p, const std::vector<float>& a, const Tensor& b,
                const std::vector<float>& bias, int64_t begin, int64_t count, DType real) {
  if (count < 0) count = p.M;
  Output result;
  result.out.assign(count * p.N, std::numeric_limits<float>::quiet_NaN());
  const bool apart = p.epilogue == Epilogue::gelu || p.epilogue == Epilogue::bias_gelu;
  if (apart) result.gelu_in = result.out;
  const Placed on_a(ops, tensor(a, {p.M, p.K}).slice_rows(begin, count), real), on_b(ops, b, b.dtype);
  const Placed on_bias(ops, p.has_bias() ? tensor(bias, {p.N}) : Tensor(), real);
  const Placed out(ops, tensor(result.out, {count, p.N}), real);
  const Placed gelu_in(ops, apart ? tensor(result.gelu_in, {count, p.N}) : Tensor(), real);
  const Gemm g = {.a = on_a.get(),
                  .b = on_b.get(),
                  .bias = on_bias.get(),
                  .out = out.get(),
                  .gelu_in = apart          ? gelu_in.get()
                             : p.has_gelu() ? out.get()
                                            : Tensor(),
                  .trans_b = p.trans_b};
  EXPECT_TRUE(fits(g, {.real = real, .readable = ops.reads_host_memory()}));
  ops.gemm(g);
  out.download();
  gelu_in.download();
  return result;
}

void expect_near(const Product& p, const std::vector<float>& a, const std::vector<float>& b, const Output& got,
                 const Output& expected, DType products, DType real) {
  const bool bf16 = products == DType::bf16 && !has_blocks(p.type);
  const auto round = [&](float x) { return std::abs(bf16 ? bf16_to_f32(f32_to_bf16(x)) : x); };
  const double stored = real == DType::bf16 ? 0x1p-8 : 0;
  for (int64_t m = 0; m < p.M; ++m) {
    for (int64_t n = 0; n < p.N; ++n) {
      double magnitude = p.has_bias() ? 8 : 0;
      for (int64_t k = 0; k < p.K; ++k) {
        magnitude += double{round(a[m * p.K + k])} * round(b[p.trans_b ? n * p.K + k : k * p.N + n]);
      }
      // With blocks the sums have the same bits; what is left is gelu.
      const double terms = has_blocks(p.type) ? 0 : static_cast<double>(p.K) + 4;
      const double bound = terms * kUnit * magnitude * 1.13;
      const int64_t i = m * p.N + n;
      const double gelu_bound = p.has_gelu() ? 40 * kUnit * (std::abs(expected.out[i]) + 1) : 0;
      // gelu of a rounded sum: at most the sum's rounding times the slope, where the sum is at most the result + 4, or
      // the result is next to nothing.
      const double rounding = stored * (std::abs(expected.out[i]) * 2 + (p.has_gelu() ? 1 : 0));
      ASSERT_LE(std::abs(double{got.out[i]} - expected.out[i]), bound + gelu_bound + rounding) << m << ", " << n;
      if (got.gelu_in.empty()) continue;
      ASSERT_LE(std::abs(double{got.gelu_in[i]} - expected.gelu_in[i]), bound + stored * std::abs(expected.gelu_in[i]))
          << m << ", " << n;
    }
  }
}

void product_cases(const std::function<bool(DType)>& types, const std::function<void(const Product&)>& check) {
  constexpr int64_t kColumns[] = {1, 17, 64, 257, 31, 96}, kDepths[] = {32, 96, 544, 1056};
  for (const DType type : kTypes) {
    if (!types(type)) continue;
    for (int64_t M = 1; M <= 20; ++M) {
      const int64_t N = kColumns[M % 6];
      const int64_t K = has_blocks(type) ? kDepths[M % 4] : kDepths[M % 4] + (M % 3 == 0 ? 0 : 2 * M - 9);
      const auto epilogue = static_cast<Epilogue>(M % 5);
      check({M, N, K, type, true, epilogue});
      if (!has_blocks(type)) check({M, N, K, type, false, epilogue});
    }
    check({70, 130, 640, type, true, Epilogue::bias_gelu});
    if (!has_blocks(type)) check({70, 130, 640, type, false, Epilogue::bias_gelu});
    if (has_blocks(type)) continue;
    for (const int64_t K : {1, 3, 7, 9, 15, 17}) {  // a short row is all it needs
      for (const bool trans_b : {true, false}) {
        check({2, 5, K, type, trans_b});
        check({19, 33, K, type, trans_b});
      }
    }
  }
}

void expect_rows_do_not_depend_on_others(Ops& ops, DType type, int64_t step, int64_t columns) {
  for (const bool trans_b : {true, false}) {
    if (has_blocks(type) && !trans_b) continue;
    for (const auto& [most, K] : {std::pair<int64_t, int64_t>{257, 1120}, {16, 768}, {70, 32}}) {
      const int64_t N = std::min(most, columns);
      const Product p = {37, N, K, type, trans_b, Epilogue::bias_gelu};
      SCOPED_TRACE(p.name());
      const std::vector<float> a = random(p.M * K, 4), bias = random(N, 5);
      const Weights b(type, p.b_shape(), random(N * K, 6));
      const Output all = multiply(ops, p, a, b.get(), bias);
      for (const int64_t count : {1, 2, 3, 5, 8, 16, 17, 20}) {
        for (int64_t begin = 0; begin + count <= p.M; begin += std::max(count, step)) {
          const Output some = multiply(ops, p, a, b.get(), bias, begin, count);
          ASSERT_EQ(std::memcmp(some.out.data(), all.out.data() + begin * N, some.out.size() * sizeof(float)), 0)
              << count << " rows from " << begin;
        }
      }
    }
  }
}

void expect_halves_are_widened_exactly(Ops& ops, int64_t M, int one_in) {
  const int64_t all = 65536 / one_in;
  std::vector<uint16_t> bits(all);
  for (int64_t i = 0; i < all; ++i) bits[i] = static_cast<uint16_t>(i * one_in);
  for (const DType type : {DType::f16, DType::bf16}) {
    std::vector<float> expected(all);
    to_f32(type, reinterpret_cast<const std::byte*>(bits.data()), expected);
    for (const bool trans_b : {true, false}) {
      const Product p = {M, all, 1, type, trans_b};
      const Output got = multiply(ops, p, std::vector<float>(M, 1.0f), Tensor(bits.data(), type, p.b_shape()), {});
      for (int64_t i = 0; i < M * all; ++i) {
        const float e = expected[i % all];
        if (std::isnan(e)) {
          ASSERT_TRUE(std::isnan(got.out[i])) << name_of(type) << " " << i;
        } else {
          ASSERT_EQ(got.out[i], e) << name_of(type) << " " << i;
        }
      }
    }
  }
}

void expect_blocks_of_a_are_rounded_as_stated(Ops& ops, Ops& ref) {
  std::vector<float> a(32 * 8);
  for (int i = 0; i < 32; ++i) {
    a[i] = static_cast<float>(i) + 0.5f;               // with a largest of 127: q = a
    a[32 + i] = 0;                                     // d = 0
    a[64 + i] = i == 3 ? 1e-40f : 1e-42f;              // 1 / d is infinite
    a[96 + i] = i % 2 == 0 ? 3e38f : -3e38f;           // the largest
    a[128 + i] = i == 0 ? -0.0f : 1e-38f * (i - 16);   // d is subnormal
    a[160 + i] = (i - 15.5f) * 8.1935484f;             // up to ±127
    a[192 + i] = i == 31 ? -1000.0f : 0.01f;           // all but one round to 0
    a[224 + i] = static_cast<float>(i * i * i) / 7.f;  // nothing in particular
  }
  a[31] = 127;
  for (const DType type : {DType::q8_0, DType::q4_0}) {
    for (const int64_t K : {32, 256}) {
      const int64_t M = 256 / K;
      const Weights b(type, {40, K}, random(40 * K, 8));
      const Product p = {M, 40, K, type};
      EXPECT_TRUE(multiply(ops, p, a, b.get(), {}) == multiply(ref, p, a, b.get(), {})) << p.name();
    }
  }
}

void expect_nan_and_infinity_come_through(Ops& ops) {
  for (const DType type : kTypes) {
    for (const int64_t M : {3, 30}) {
      const Product p = {M, 50, 64, type};
      SCOPED_TRACE(p.name());
      for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
        std::vector<float> a = random(M * p.K, 1);
        a[p.K + 5] = bad;  // the second row
        const Weights b(type, p.b_shape(), random(p.N * p.K, 2));
        const Output got = multiply(ops, p, a, b.get(), {});
        for (int64_t i = 0; i < M * p.N; ++i) ASSERT_EQ(std::isfinite(got.out[i]), i / p.N != 1) << bad << " " << i;
      }
      if (!has_blocks(type)) continue;
      const std::vector<float> a = random(M * p.K, 1);
      const Weights b(type, p.b_shape(), random(p.N * p.K, 2));
      const uint16_t infinity = 0x7c00;  // the scale of the second block of row 7
      std::memcpy(b.get().data + bytes_of(type, 7 * p.K + 32), &infinity, sizeof infinity);
      const Output got = multiply(ops, p, a, b.get(), {});
      for (int64_t i = 0; i < M * p.N; ++i) ASSERT_EQ(std::isfinite(got.out[i]), i % p.N != 7) << i;
    }
  }
}

void expect_blocks_hold_the_largest_sums(Ops& ops, Ops& ref) {
  for (const DType type : {DType::q8_0, DType::q4_0}) {
    for (const int64_t M : {2, 12}) {
      const Product p = {M, 33, 64, type};
      const Weights b(type, p.b_shape(), std::vector<float>(p.N * p.K, 1.0f));
      for (const int byte : {0x80, 0x7f, 0xff, 0x00}) {  // -128, 127; nibbles of -8 and 0, 7 and 7, 7 and -8, ...
        for (int64_t i = 0; i < p.N * p.K / 32; ++i) {
          std::byte* block = b.get().data + bytes_of(type, i * 32);
          for (size_t j = 2; j < block_bytes(type); ++j) block[j] = static_cast<std::byte>(byte);
        }
        for (const float sign : {1.0f, -1.0f}) {
          const std::vector<float> a(p.M * p.K, 127 * sign);
          EXPECT_TRUE(multiply(ops, p, a, b.get(), {}) == multiply(ref, p, a, b.get(), {})) << byte << " " << sign;
        }
      }
    }
  }
}

}  // namespace ink
