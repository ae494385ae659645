// The specification of every operation in ops.h, as plain loops over one scalar type. RefOps runs them over float; the
// tests run the same code over double, against finite differences. Sums accumulate in double, so that the float results
// are as exact as their rounding. B batch, T time, C channels, N rows, NH heads; everything is row-major.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include "ink/base/dtype.h"

namespace ink::ref {

// positions may be null: 0, 1, ... T - 1 in each row of the batch.
template <class Real>
void embed(Real* out, const int32_t* tokens, const Real* wte, const Real* wpe, int64_t B, int64_t T, int64_t C,
           const int32_t* positions = nullptr) {
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t t = 0; t < T; ++t) {
      const int64_t row = b * T + t, position = positions != nullptr ? positions[row] : t;
      for (int64_t c = 0; c < C; ++c) out[row * C + c] = wte[tokens[row] * C + c] + wpe[position * C + c];
    }
  }
}

template <class Real>
void embed_backward(Real* dwte, Real* dwpe, const Real* dout, const int32_t* tokens, int64_t B, int64_t T, int64_t C) {
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t t = 0; t < T; ++t) {
      const int64_t row = b * T + t;
      for (int64_t c = 0; c < C; ++c) {
        dwte[tokens[row] * C + c] += dout[row * C + c];
        dwpe[t * C + c] += dout[row * C + c];
      }
    }
  }
}

// in and sum may be null.
template <class Real>
void add_layernorm(Real* sum, Real* out, Real* mean, Real* rstd, const Real* in, const Real* residual,
                   const Real* weight, const Real* bias, int64_t N, int64_t C, double eps) {
  for (int64_t n = 0; n < N; ++n) {
    std::vector<Real> x(residual + n * C, residual + (n + 1) * C);
    if (in != nullptr) {
      for (int64_t c = 0; c < C; ++c) x[c] = in[n * C + c] + residual[n * C + c];
    }
    if (sum != nullptr) std::copy(x.begin(), x.end(), sum + n * C);
    double m = 0;
    for (int64_t c = 0; c < C; ++c) m += x[c];
    m /= static_cast<double>(C);
    double var = 0;
    for (int64_t c = 0; c < C; ++c) var += (x[c] - m) * (x[c] - m);
    var /= static_cast<double>(C);
    const double r = 1 / std::sqrt(var + eps);
    for (int64_t c = 0; c < C; ++c) out[n * C + c] = static_cast<Real>((x[c] - m) * r * weight[c] + bias[c]);
    mean[n] = static_cast<Real>(m);
    rstd[n] = static_cast<Real>(r);
  }
}

// dresidual, and out with bias, may be null.
template <class Real>
void add_layernorm_backward(Real* dsum, Real* dweight, Real* dbias, Real* out, const Real* dresidual, const Real* dout,
                            const Real* sum, const Real* weight, const Real* bias, const Real* mean, const Real* rstd,
                            int64_t N, int64_t C) {
  std::vector<double> dw(C, 0), db(C, 0);
  for (int64_t n = 0; n < N; ++n) {
    const auto x_hat = [&](int64_t c) { return (double{sum[n * C + c]} - mean[n]) * rstd[n]; };
    const auto g = [&](int64_t c) { return double{dout[n * C + c]} * weight[c]; };
    double mean_g = 0, mean_gx = 0;
    for (int64_t c = 0; c < C; ++c) {
      mean_g += g(c);
      mean_gx += g(c) * x_hat(c);
    }
    mean_g /= static_cast<double>(C);
    mean_gx /= static_cast<double>(C);
    for (int64_t c = 0; c < C; ++c) {
      const auto dx = static_cast<Real>(rstd[n] * (g(c) - mean_g - x_hat(c) * mean_gx));
      dw[c] += dout[n * C + c] * x_hat(c);
      db[c] += dout[n * C + c];
      if (out != nullptr) out[n * C + c] = static_cast<Real>(x_hat(c) * weight[c] + bias[c]);
      dsum[n * C + c] = dresidual != nullptr ? dresidual[n * C + c] + dx : dx;
    }
  }
  for (int64_t c = 0; c < C; ++c) {
    dweight[c] += static_cast<Real>(dw[c]);
    dbias[c] += static_cast<Real>(db[c]);
  }
}

inline double gelu_value(double x) {
  const double scale = std::sqrt(2 / std::numbers::pi);
  return 0.5 * x * (1 + std::tanh(scale * (x + 0.044715 * x * x * x)));
}

inline double gelu_slope(double x) {
  const double scale = std::sqrt(2 / std::numbers::pi);
  const double t = std::tanh(scale * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x * x);
}

template <class Real>
void gelu(Real* out, const Real* in, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<Real>(gelu_value(in[i]));
}

// The arguments of ink::Gemm; a, b, out are dense, bias, gelu_in, dgelu_in, dbias may be null.
template <class Real>
struct GemmArgs {
  const Real *a, *b, *bias = nullptr;
  Real *out, *gelu_in = nullptr;
  const Real* dgelu_in = nullptr;
  Real* dbias = nullptr;
  bool trans_a = false, trans_b = false, accumulate = false;
  int64_t M, N, K;
};

// What a product does to its inputs: nothing, or rounding them to bf16.
struct Exact {
  template <class Real>
  double operator()(Real x) const {
    return x;
  }
};
struct ToBf16 {
  double operator()(float x) const { return bf16_to_f32(f32_to_bf16(x)); }
};

template <class Real, class Round = Exact>
void gemm(const GemmArgs<Real>& g, const Round& round = {}) {
  const auto a = [&](int64_t m, int64_t k) { return g.trans_a ? g.a[k * g.M + m] : g.a[m * g.K + k]; };
  const auto b = [&](int64_t k, int64_t n) { return g.trans_b ? g.b[n * g.K + k] : g.b[k * g.N + n]; };
  for (int64_t m = 0; m < g.M; ++m) {
    for (int64_t n = 0; n < g.N; ++n) {
      double value = 0;
      for (int64_t k = 0; k < g.K; ++k) value += round(a(m, k)) * round(b(k, n));
      if (g.bias != nullptr) value += g.bias[n];
      const int64_t i = m * g.N + n;
      if (g.gelu_in != nullptr) {
        g.gelu_in[i] = static_cast<Real>(value);
        value = gelu_value(g.gelu_in[i]);
      }
      if (g.dgelu_in != nullptr) value *= gelu_slope(g.dgelu_in[i]);
      g.out[i] = static_cast<Real>(g.accumulate ? g.out[i] + value : value);
    }
  }
  if (g.dbias != nullptr) {
    for (int64_t m = 0; m < g.M; ++m) {
      double sum = 0;
      for (int64_t k = 0; k < g.K; ++k) sum += a(m, k);
      g.dbias[m] += static_cast<Real>(sum);
    }
  }
}

// A block of a row of floats, or of weights.
struct QuantizedBlock {
  float d = 0;
  int q[32] = {};
};

inline QuantizedBlock round_to_block(const float* x) {
  QuantizedBlock block;
  float largest = 0;
  for (int i = 0; i < 32; ++i) {
    if (std::isnan(x[i])) largest = x[i];
    if (std::abs(x[i]) > largest) largest = std::abs(x[i]);
  }
  block.d = largest / 127;
  const float inverse = 1 / block.d;
  if (!(inverse > 0) || std::isinf(inverse)) return block;  // nothing to round to, or NaN or infinity, which d keeps
  for (int i = 0; i < 32; ++i) block.q[i] = static_cast<int>(std::nearbyint(x[i] * inverse));
  return block;
}

inline QuantizedBlock read_block(DType type, const std::byte* data) {
  QuantizedBlock block;
  block.d = f16_to_f32(static_cast<uint16_t>(static_cast<int>(data[0]) | static_cast<int>(data[1]) << 8));
  for (int i = 0; i < 32; ++i) {
    if (type == DType::q8_0) block.q[i] = (static_cast<int>(data[2 + i]) ^ 128) - 128;  // int8
    if (type == DType::q4_0) block.q[i] = (static_cast<int>(data[2 + i % 16]) >> (i < 16 ? 0 : 4) & 15) - 8;
  }
  return block;
}

// The product of a with rows of blocks, in g.b's place; gelu_in may be out.
inline void gemm_quantized(const GemmArgs<float>& g, DType type, const std::byte* b) {
  for (int64_t m = 0; m < g.M; ++m) {
    std::vector<QuantizedBlock> a;
    for (int64_t k = 0; k < g.K; k += 32) a.push_back(round_to_block(g.a + m * g.K + k));
    for (int64_t n = 0; n < g.N; ++n) {
      float sum = 0;
      for (int64_t k = 0; k < g.K; k += 32) {
        const QuantizedBlock& x = a[k / 32];
        const QuantizedBlock w = read_block(type, b + bytes_of(type, n * g.K + k));
        int dot = 0;
        for (int i = 0; i < 32; ++i) dot += x.q[i] * w.q[i];
        sum = std::fma(static_cast<float>(dot), x.d * w.d, sum);
      }
      if (g.bias != nullptr) sum += g.bias[n];
      if (g.gelu_in != nullptr) g.gelu_in[m * g.N + n] = sum;
      g.out[m * g.N + n] = g.gelu_in != nullptr ? static_cast<float>(gelu_value(sum)) : sum;
    }
  }
}

template <class Real>
void attention(Real* out, Real* lse, const Real* qkv, int64_t B, int64_t T, int64_t C, int64_t NH) {
  const int64_t HS = C / NH;
  const double scale = 1 / std::sqrt(static_cast<double>(HS));
  std::vector<double> score(T);
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t h = 0; h < NH; ++h) {
      const Real* q = qkv + b * T * 3 * C + h * HS;
      const Real* k = q + C;
      const Real* v = q + 2 * C;
      for (int64_t t = 0; t < T; ++t) {
        double max = -std::numeric_limits<double>::infinity();
        for (int64_t u = 0; u <= t; ++u) {
          score[u] = 0;
          for (int64_t i = 0; i < HS; ++i) score[u] += double{q[t * 3 * C + i]} * k[u * 3 * C + i];
          score[u] *= scale;
          max = std::max(max, score[u]);
        }
        double sum = 0;
        for (int64_t u = 0; u <= t; ++u) sum += std::exp(score[u] - max);
        lse[(b * NH + h) * T + t] = static_cast<Real>(max + std::log(sum));
        for (int64_t i = 0; i < HS; ++i) {
          double value = 0;
          for (int64_t u = 0; u <= t; ++u) value += std::exp(score[u] - max) / sum * v[u * 3 * C + i];
          out[(b * T + t) * C + h * HS + i] = static_cast<Real>(value);
        }
      }
    }
  }
}

// The arguments of ink::CachedAttention, as pointers and sizes.
struct CachedAttentionArgs {
  const float* qkv;
  float *out, *k_pages, *v_pages;
  const int32_t *sequences, *positions, *table;
  int64_t R, C, NH, page, table_cols;
};
inline void cached_attention(const CachedAttentionArgs& a) {
  const int64_t HS = a.C / a.NH, P = a.page;
  // Where position u of a sequence begins for head h: its page, and its place in the page.
  const auto page_of = [&](int64_t sequence, int64_t h, int64_t u) {
    return (a.table[sequence * a.table_cols + u / P] * a.NH + h) * HS * P;
  };
  const auto k = [&](int64_t s, int64_t h, int64_t u, int64_t i) -> float& {
    return a.k_pages[page_of(s, h, u) + i * P + u % P];
  };
  const auto v = [&](int64_t s, int64_t h, int64_t u, int64_t i) -> float& {
    return a.v_pages[page_of(s, h, u) + u % P * HS + i];
  };
  for (int64_t r = 0; r < a.R; ++r) {
    for (int64_t c = 0; c < a.C; ++c) {
      k(a.sequences[r], c / HS, a.positions[r], c % HS) = a.qkv[(r * 3 + 1) * a.C + c];
      v(a.sequences[r], c / HS, a.positions[r], c % HS) = a.qkv[(r * 3 + 2) * a.C + c];
    }
  }
  const double scale = 1 / std::sqrt(static_cast<double>(HS));
  for (int64_t r = 0; r < a.R; ++r) {
    const int64_t s = a.sequences[r], last = a.positions[r];
    std::vector<double> p(last + 1);
    for (int64_t h = 0; h < a.NH; ++h) {
      const float* q = a.qkv + r * 3 * a.C + h * HS;
      double max = -std::numeric_limits<double>::infinity(), sum = 0;
      for (int64_t u = 0; u <= last; ++u) {
        p[u] = 0;
        for (int64_t i = 0; i < HS; ++i) p[u] += double{q[i]} * k(s, h, u, i);
        p[u] *= scale;
        max = std::max(max, p[u]);
      }
      for (double& score : p) sum += score = std::exp(score - max);
      for (int64_t i = 0; i < HS; ++i) {
        double value = 0;
        for (int64_t u = 0; u <= last; ++u) value += p[u] / sum * v(s, h, u, i);
        a.out[r * a.C + h * HS + i] = static_cast<float>(value);
      }
    }
  }
}

// With p = exp(score - lse), dp[t,u] = dout[t]·v[u] and delta[t] = dout[t]·out[t] (= Σ_u p·dp), the gradient of a score
// is p · (dp - delta).
template <class Real>
void attention_backward(Real* dqkv, Real* delta, const Real* dout, const Real* qkv, const Real* out, const Real* lse,
                        int64_t B, int64_t T, int64_t C, int64_t NH) {
  const int64_t HS = C / NH;
  const double scale = 1 / std::sqrt(static_cast<double>(HS));
  std::vector<double> dq(T * HS), dk(T * HS), dv(T * HS);
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t h = 0; h < NH; ++h) {
      const Real* q = qkv + b * T * 3 * C + h * HS;
      const Real* k = q + C;
      const Real* v = q + 2 * C;
      for (std::vector<double>* gradient : {&dq, &dk, &dv}) std::ranges::fill(*gradient, 0.0);
      for (int64_t t = 0; t < T; ++t) {
        const Real* o = out + (b * T + t) * C + h * HS;
        const Real* d = dout + (b * T + t) * C + h * HS;
        double dot = 0;
        for (int64_t i = 0; i < HS; ++i) dot += double{d[i]} * o[i];
        delta[(b * NH + h) * T + t] = static_cast<Real>(dot);
        for (int64_t u = 0; u <= t; ++u) {
          double score = 0, dp = 0;
          for (int64_t i = 0; i < HS; ++i) {
            score += double{q[t * 3 * C + i]} * k[u * 3 * C + i];
            dp += double{d[i]} * v[u * 3 * C + i];
          }
          const double p = std::exp(score * scale - lse[(b * NH + h) * T + t]);
          const double dscore = p * (dp - dot) * scale;
          for (int64_t i = 0; i < HS; ++i) {
            dq[t * HS + i] += dscore * k[u * 3 * C + i];
            dk[u * HS + i] += dscore * q[t * 3 * C + i];
            dv[u * HS + i] += p * d[i];
          }
        }
      }
      Real* dqkv_head = dqkv + b * T * 3 * C + h * HS;
      for (int64_t t = 0; t < T; ++t) {
        for (int64_t i = 0; i < HS; ++i) {
          dqkv_head[t * 3 * C + i] = static_cast<Real>(dq[t * HS + i]);
          dqkv_head[t * 3 * C + C + i] = static_cast<Real>(dk[t * HS + i]);
          dqkv_head[t * 3 * C + 2 * C + i] = static_cast<Real>(dv[t * HS + i]);
        }
      }
    }
  }
}

// log Σ_{v<vocab} exp(logits[v]).
template <class Real>
double log_sum_exp(const Real* logits, int64_t vocab) {
  double max = -std::numeric_limits<double>::infinity();
  for (int64_t v = 0; v < vocab; ++v) max = std::max(max, double{logits[v]});
  double sum = 0;
  for (int64_t v = 0; v < vocab; ++v) sum += std::exp(logits[v] - max);
  return max + std::log(sum);
}

// logits is scratch of one row (Vp); dx and dweight are both null when only the losses are wanted. The columns
// [vocab, padded) take no part.
template <class Real, class Round = Exact>
void classifier(Real* losses, Real* dx, Real* dweight, Real* logits, const Real* x, const Real* weight,
                const int32_t* targets, int64_t N, int64_t C, int64_t vocab, int64_t padded, double dloss,
                bool accumulate, const Round& round = {}) {
  if (dweight != nullptr && !accumulate) std::fill(dweight, dweight + padded * C, Real{0});
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t v = 0; v < vocab; ++v) {
      double value = 0;
      for (int64_t c = 0; c < C; ++c) value += round(x[n * C + c]) * round(weight[v * C + c]);
      logits[v] = static_cast<Real>(value);
    }
    const double lse = log_sum_exp(logits, vocab);
    losses[n] = static_cast<Real>(lse - logits[targets[n]]);
    if (dx == nullptr) continue;
    for (int64_t v = 0; v < vocab; ++v) {
      const double p = std::exp(logits[v] - lse);
      logits[v] = static_cast<Real>((p - (v == targets[n] ? 1 : 0)) * dloss);
    }
    for (int64_t c = 0; c < C; ++c) {
      double value = 0;
      for (int64_t v = 0; v < vocab; ++v) value += round(logits[v]) * round(weight[v * C + c]);
      dx[n * C + c] = static_cast<Real>(value);
    }
    for (int64_t v = 0; v < vocab; ++v) {
      for (int64_t c = 0; c < C; ++c) {
        dweight[v * C + c] += static_cast<Real>(round(logits[v])) * static_cast<Real>(round(x[n * C + c]));
      }
    }
  }
}

// Args is ink::AdamW, of which the scalars are read.
template <class Real, class Args>
void adamw(Real* param, const Real* grad, Real* m, Real* v, int64_t n, const Args& a) {
  const Real beta1 = a.beta1, beta2 = a.beta2, one = 1;
  const auto m_scale = static_cast<Real>(1 / (1 - std::pow(double{a.beta1}, static_cast<double>(a.step))));
  const auto v_scale = static_cast<Real>(1 / (1 - std::pow(double{a.beta2}, static_cast<double>(a.step))));
  for (int64_t i = 0; i < n; ++i) {
    const Real g = grad[i] * a.grad_scale;
    m[i] = beta1 * m[i] + (one - beta1) * g;
    v[i] = beta2 * v[i] + (one - beta2) * g * g;
    param[i] -= a.lr * (m[i] * m_scale / (std::sqrt(v[i] * v_scale) + a.eps) + a.weight_decay * param[i]);
  }
}

// Args is ink::Sgd, of which the scalars are read.
template <class Real, class Args>
void sgd(Real* param, const Real* grad, Real* m, int64_t n, const Args& a) {
  for (int64_t i = 0; i < n; ++i) {
    const Real d = grad[i] * a.grad_scale + a.weight_decay * param[i];
    m[i] = a.momentum * m[i] + d;
    param[i] -= a.lr * m[i];
  }
}

template <class Real>
double sum_squares(const Real* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{x[i]} * x[i];
  return sum;
}

template <class Real>
bool all_finite(const Real* x, int64_t n) {
  return std::all_of(x, x + n, [](Real value) { return std::isfinite(value); });
}

}  // namespace ink::ref
