// What the tests of models and their files share: a tiny model, random batches, and errors by their text.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/parallel.h"
#include "ink/base/rng.h"
#include "ink/model/gpt2.h"
#include "ink/ops/device.h"

namespace ink {

// Odd sizes: heads of 5 channels and a vocabulary that needs padding.
inline const Gpt2Config kTiny = {.context = 12, .vocab = 29, .layers = 3, .heads = 2, .channels = 10};

inline std::vector<float> values_of(const Gpt2& model, const Tensor& t) {
  std::vector<float> values(static_cast<size_t>(t.numel()));
  model.ops().download(values.data(), t);
  return values;
}

// Every parameter random, large enough that all of them matter; the padding of the vocabulary stays zero.
inline void randomize(Gpt2& model, uint32_t seed) {
  Mt19937 rng(seed);
  for (const Param& p : model.params()) {
    std::vector<float> values(static_cast<size_t>(p.weight.numel()));
    const int64_t rows = p.spec->vocab_rows ? model.config().vocab : p.weight.rows();
    rng.normal(std::span(values).first(static_cast<size_t>(rows * p.weight.cols())), p.spec->init == Init::ones ? 1 : 0,
               0.2f);
    model.ops().upload(p.weight, values.data());
  }
}

inline std::unique_ptr<Gpt2> make_model(Ops& ops, const Gpt2Options& options, const Gpt2Config& config = kTiny) {
  auto model = std::make_unique<Gpt2>(config, options, ops);
  model->allocate();
  randomize(*model, 7);
  return model;
}

inline std::vector<int32_t> random_ids(int64_t count, int64_t vocab, uint32_t seed) {
  Mt19937 rng(seed);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(rng.next_u32() % static_cast<uint32_t>(vocab));
  return ids;
}

// Expects an Error of one line that holds all the texts.
template <class Call>
void expect_error(const Call& call, std::initializer_list<std::string_view> texts) {
  try {
    call();
    ADD_FAILURE() << "no error, expected one with '" << (texts.size() > 0 ? *texts.begin() : "") << "'";
  } catch (const Error& e) {
    const std::string what = e.what();
    EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    for (const std::string_view text : texts) {
      EXPECT_NE(what.find(text), std::string::npos) << "'" << text << "' is not in: " << what;
    }
  }
}

}  // namespace ink
