// What the shared cases do not ask of the GPU's embeddings, layer norms and optimizers, in the emulator.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "ink/base/dtype.h"
#include "ink/gpu/emu/emu_gpu.h"
#include "ink/gpu/gpu_ops.h"
#include "ink/ref/ref_ops.h"
#include "ink/tensor/cast.h"

namespace ink {
namespace {

constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0};

std::vector<float> random(int64_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = normal(generator);
  return x;
}

// A tensor on the device, and its memory.
class OnDevice {
 public:
  OnDevice(Ops& ops, DType dtype, const Shape& shape)
      : ops_(ops), buffer_(ops.allocate(bytes_of(dtype, shape.numel()))), tensor_(buffer_->data(), dtype, shape) {}
  OnDevice(Ops& ops, DType dtype, const Shape& shape, const std::vector<float>& values) : OnDevice(ops, dtype, shape) {
    std::vector<std::byte> bytes(tensor_.bytes());
    from_f32(values, dtype, bytes.data());
    ops.upload(tensor_, bytes.data());
  }
  OnDevice(Ops& ops, const Shape& shape, const std::vector<int32_t>& values) : OnDevice(ops, DType::i32, shape) {
    ops.upload(tensor_, values.data());
  }
  operator Tensor() const { return tensor_; }
  std::vector<float> floats() const {
    std::vector<std::byte> bytes(tensor_.bytes());
    ops_.download(bytes.data(), tensor_);
    std::vector<float> values(static_cast<size_t>(tensor_.numel()));
    to_f32(tensor_.dtype, bytes.data(), values);
    return values;
  }

 private:
  Ops& ops_;
  std::unique_ptr<Buffer> buffer_;
  Tensor tensor_;
};

class GpuRowsTest : public testing::TestWithParam<DType> {
 protected:
  DType real() const { return GetParam(); }
  std::vector<float> as_stored(std::vector<float> x) const {
    if (real() != DType::bf16) return x;
    for (float& value : x) value = bf16_to_f32(f32_to_bf16(value));
    return x;
  }

  gpu::GpuOps emu_{emu::make_emu_gpu(), DType::f32};
  RefOps ref_{DType::f32};
};

// Sums of two numbers that were read exactly are the reference's to the bit.
TEST_P(GpuRowsTest, EmbedsWeightsOfEveryType) {
  const std::vector<int32_t> tokens = {6, 0, 3, 3, 5, 1}, positions = {4, 2, 0, 1, 1, 3};
  for (const DType type : kTypes) {
    SCOPED_TRACE(name_of(type));
    for (const int64_t C : {32, 96, 37}) {
      if (C % block_of(type) != 0) continue;
      const std::vector<float> wte = random(7 * C, 1), wpe = random(5 * C, 2);
      for (const bool has_positions : {false, true}) {
        std::vector<std::vector<float>> out;
        for (Ops* ops : {static_cast<Ops*>(&ref_), static_cast<Ops*>(&emu_)}) {
          const DType stored = ops == &ref_ ? DType::f32 : real();
          const OnDevice result(*ops, stored, {2, 3, C}), ids(*ops, {2, 3}, tokens), at(*ops, {2, 3}, positions);
          const OnDevice weights(*ops, type, {7, C}, wte), places(*ops, stored, {5, C}, as_stored(wpe));
          ops->embed({.out = result,
                      .tokens = ids,
                      .wte = weights,
                      .wpe = places,
                      .positions = has_positions ? Tensor(at) : Tensor()});
          out.push_back(as_stored(result.floats()));
        }
        EXPECT_EQ(out[0], out[1]) << C;
      }
    }
  }
}

// Two tokens for 700 rows: long runs, over several tiles of the sort.
TEST_P(GpuRowsTest, EmbedBackwardAddsManyRowsToOneToken) {
  const int64_t rows = 700, C = 132;
  std::vector<int32_t> tokens;
  for (int i = 0; i < rows; ++i) tokens.push_back(i % 7 == 0 ? 2 : 0);
  const std::vector<float> dout = as_stored(random(rows * C, 3)), before = random(3 * C, 4);
  std::vector<std::vector<float>> dwte;
  for (Ops* ops : {static_cast<Ops*>(&ref_), static_cast<Ops*>(&emu_)}) {
    const OnDevice out(*ops, ops == &ref_ ? DType::f32 : real(), {1, rows, C}, dout), ids(*ops, {1, rows}, tokens);
    const OnDevice wte(*ops, DType::f32, {3, C}, before), wpe(*ops, DType::f32, {rows, C});
    ops->embed_backward({.dwte = wte, .dwpe = wpe, .dout = out, .tokens = ids});
    dwte.push_back(wte.floats());
    EXPECT_EQ(wpe.floats(), dout);
  }
  for (int64_t i = 0; i < 3 * C; ++i) ASSERT_NEAR(dwte[1][i], dwte[0][i], 2e-4) << i;
  for (int64_t i = C; i < 2 * C; ++i) ASSERT_EQ(dwte[1][i], before[i]);  // a token that is not there
}

// Rows of many tiles, and no whole number of them, sorted by merges: the sums of a token are in the rows' order.
TEST_P(GpuRowsTest, EmbedBackwardSortsRowsOfManyTiles) {
  const int64_t rows = 1400, C = 4, vocab = 50;
  std::mt19937 generator(9);
  std::vector<int32_t> tokens(rows);
  for (int32_t& token : tokens) token = static_cast<int32_t>(generator() % (vocab - 3));
  const std::vector<float> dout = as_stored(random(rows * C, 5)), before = random(vocab * C, 6);
  std::vector<std::vector<float>> dwte;
  gpu::GpuOps shuffled(emu::make_emu_gpu(emu::Order::shuffled), DType::f32);
  for (Ops* ops : {static_cast<Ops*>(&ref_), static_cast<Ops*>(&emu_), static_cast<Ops*>(&shuffled)}) {
    const OnDevice out(*ops, ops == &ref_ ? DType::f32 : real(), {2, rows / 2, C}, dout),
        ids(*ops, {2, rows / 2}, tokens);
    const OnDevice wte(*ops, DType::f32, {vocab, C}, before), wpe(*ops, DType::f32, {rows / 2, C});
    ops->embed_backward({.dwte = wte, .dwpe = wpe, .dout = out, .tokens = ids});
    dwte.push_back(wte.floats());
  }
  for (int64_t i = 0; i < vocab * C; ++i) ASSERT_NEAR(dwte[1][i], dwte[0][i], 1e-4) << i;
  EXPECT_EQ(dwte[1], dwte[2]) << "other bits in another order: a race";
}

// Nothing to do is no error, as on every device.
TEST_P(GpuRowsTest, TensorsWithoutElementsAreLeftAlone) {
  const OnDevice real0(emu_, real(), {0}), f32(emu_, DType::f32, {0});
  emu_.gelu({.out = real0, .in = real0});
  emu_.cast({.out = real0, .in = f32});
  emu_.fill(f32, 1);
  emu_.adamw({.param = f32, .grad = f32, .m = f32, .v = f32, .lr = 1});
  emu_.sgd({.param = f32, .grad = f32, .m = f32, .lr = 1});
  EXPECT_EQ(emu_.sum_squares(real0), 0);
  EXPECT_TRUE(emu_.all_finite(real0));
}

// What is not kept from the forward pass comes back bit for bit.
TEST_P(GpuRowsTest, AddLayerNormBackwardGivesTheOutputAgain) {
  for (const int64_t C : {132, 133}) {
    const int64_t N = 11;
    const OnDevice in(emu_, real(), {N, C}, random(N * C, 1)), residual(emu_, real(), {N, C}, random(N * C, 2));
    const OnDevice weight(emu_, real(), {C}, random(C, 3)), bias(emu_, real(), {C}, random(C, 4));
    const OnDevice sum(emu_, real(), {N, C}), out(emu_, real(), {N, C}), again(emu_, real(), {N, C});
    const OnDevice mean(emu_, DType::f32, {N}), rstd(emu_, DType::f32, {N});
    emu_.add_layernorm({.in = in,
                        .residual = residual,
                        .weight = weight,
                        .bias = bias,
                        .sum = sum,
                        .out = out,
                        .mean = mean,
                        .rstd = rstd});
    const OnDevice dsum(emu_, real(), {N, C}), dweight(emu_, DType::f32, {C}), dbias(emu_, DType::f32, {C});
    emu_.add_layernorm_backward({.dsum = dsum,
                                 .dweight = dweight,
                                 .dbias = dbias,
                                 .out = again,
                                 .dout = in,
                                 .sum = sum,
                                 .weight = weight,
                                 .bias = bias,
                                 .mean = mean,
                                 .rstd = rstd});
    EXPECT_EQ(again.floats(), out.floats());
  }
}

TEST_P(GpuRowsTest, AllFiniteFindsOneBadElementAnywhere) {
  for (const int64_t n : {1, 257, 9000}) {
    std::vector<float> x(static_cast<size_t>(n), 1e38f);
    EXPECT_TRUE(emu_.all_finite(OnDevice(emu_, real(), {n}, x)));
    for (const int64_t place : {int64_t{0}, n / 2, n - 1}) {
      for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
        x[place] = bad;
        const OnDevice t(emu_, real(), {n}, x);
        EXPECT_FALSE(emu_.all_finite(t)) << n << " " << place << " " << bad;
        EXPECT_FALSE(std::isfinite(emu_.sum_squares(t)));
        x[place] = 1;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Real, GpuRowsTest, testing::Values(DType::f32, DType::bf16),
                         [](const auto& i) { return std::string(name_of(i.param)); });

std::vector<float> rounded(Ops& ops, const std::vector<float>& values, uint32_t seed) {
  const auto n = static_cast<int64_t>(values.size());
  const OnDevice in(ops, DType::f32, {n}, values), out(ops, DType::bf16, {n});
  ops.cast({.out = out, .in = in, .seed = seed});
  return out.floats();
}

TEST(GpuCastTest, RoundsToTheNearest) {
  gpu::GpuOps emu(emu::make_emu_gpu(), DType::f32);
  RefOps ref(DType::f32);
  // Ties, one up and one down, the largest number, infinity.
  std::vector<float> x = random(1001, 1);
  x.insert(x.end(), {0x1.01p0f, 0x1.03p0f, std::numeric_limits<float>::max(), HUGE_VALF});
  std::vector<float> expected;
  for (const float value : x) expected.push_back(bf16_to_f32(f32_to_bf16(value)));
  for (Ops* ops : {static_cast<Ops*>(&ref), static_cast<Ops*>(&emu)}) {
    EXPECT_EQ(rounded(*ops, x, 0), expected);
  }
}

TEST(GpuCastTest, RoundsAtRandomButEvenly) {
  gpu::GpuOps emu(emu::make_emu_gpu(), DType::f32);
  RefOps ref(DType::f32);
  const int64_t n = 20001;
  const float value = -1 - 0.3f * 0x1p-7f;  // three tenths of the way from one bf16 to the next
  const std::vector<float> x(n, value);
  const std::vector<float> got = rounded(emu, x, 7);
  EXPECT_EQ(got, rounded(ref, x, 7));
  EXPECT_NE(got, rounded(emu, x, 8));
  double sum = 0, neighbours = 0;
  for (int64_t i = 0; i < n; ++i) {
    sum += got[i];
    ASSERT_TRUE(got[i] == -1 || got[i] == -1 - 0x1p-7f);
    neighbours += i > 0 && got[i] == got[i - 1] ? 1 : 0;
  }
  // Five standard deviations.
  EXPECT_NEAR(sum / n, value, 5 * 0x1p-7 * std::sqrt(0.3 * 0.7 / n));
  EXPECT_NEAR(neighbours / n, 0.58, 5 * 0.5 / std::sqrt(n));  // as often alike as by chance: 0.3² + 0.7²
}

}  // namespace
}  // namespace ink
