// ink bench infer: prompts and single tokens through the inference model, on weights of every type.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ink/base/parallel.h"
#include "ink/bench/report.h"

namespace ink::bench {

struct InferBenchOptions {
  std::string model = "gpt2";  // a size, with random weights, or a model in files
  std::vector<DType> types = {DType::f32, DType::f16, DType::q8_0, DType::q4_0};  // empty: the file as it is
  int64_t prompt = 256;                                                           // tokens of a prompt
  int64_t decode = 64;     // tokens that each sequence then goes on with, one by one, from an empty context
  int64_t sequences = 1;   // that are decoded together
  int64_t rounds = 5;      // of each; the types take turns
  std::string data;        // a text file for the perplexity; empty: none
  int64_t tokens = 16384;  // of it, at most
  std::string device = "cpu";
};

// Writes the model with each type's weights into a temporary folder, loads it from there, and measures. Throws Error or
// UsageError for what cannot be had or does not fit.
InferReport bench_infer(const InferBenchOptions& options, ThreadPool& pool,
                        const std::function<void(const std::string&)>& note);

}  // namespace ink::bench
