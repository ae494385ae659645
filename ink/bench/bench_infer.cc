#include "ink/bench/bench_infer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/rng.h"
#include "ink/bench/temporary_folder.h"
#include "ink/eval/text_loss.h"
#include "ink/format/model_io.h"
#include "ink/infer/model.h"
#include "ink/infer/weights.h"
#include "ink/model/gpt2.h"
#include "ink/ops/device.h"

namespace ink::bench {

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A size's model with its first weights, and what keeps it alive.
struct RandomModel {
  std::unique_ptr<Gpt2> model;
  std::unique_ptr<ModelSource> source;

  RandomModel(const std::string& size, Ops& ops)
      : model(std::make_unique<Gpt2>(config_from_name(size), Gpt2Options{.batch = 1, .context = 1}, ops)) {
    model->allocate();
    Mt19937 rng(42);
    model->init(rng);
    source = model_source(*model);
  }
};

// One type's model, loaded, and what was measured of it.
class Subject {
 public:
  Subject(std::string type, const fs::path& file, const InferBenchOptions& o, Ops& ops) : options_(o) {
    const auto start = Clock::now();
    source_ = open_model(file);
    const int64_t most = std::max({o.prompt, o.decode + 1, int64_t{1}}), own = source_->config().context;
    check(most <= own, "{}: prompts of {} and {} tokens after one do not fit its context of {}", o.model, o.prompt,
          o.decode, own);
    const InferenceOptions options = {.sequences = o.sequences, .rows = std::max<int64_t>(256, o.sequences)};
    model_ = std::make_unique<Gpt2Inference>(load_inference_weights(source_, ops), options, ops);
    Mt19937 rng(7);
    ids_.resize(static_cast<size_t>(std::max(o.prompt, o.sequences)));
    for (int32_t& id : ids_) id = static_cast<int32_t>(rng.next_u32() % static_cast<uint32_t>(vocab()));
    logits_.resize(static_cast<size_t>(o.sequences * vocab()));
    forward(1);
    result.first_token = seconds_since(start);
    result.type = std::move(type);
    result.file_bytes = fs::is_directory(file) ? bytes_of_folder(file) : fs::file_size(file);
    result.step_bytes = model_->weights().bytes_per_token();
    const Gpt2Config& c = source_->config();
    const auto T = static_cast<double>(o.prompt);
    const auto matrices = static_cast<double>(12 * c.layers * c.channels * c.channels);
    const double attention = 2 * static_cast<double>(c.layers * c.channels) * T * (T + 1);
    result.prompt_flops = 2 * T * matrices + attention + 2 * static_cast<double>(c.vocab * c.channels);
  }

  void measure() {
    const auto start = Clock::now();
    forward(options_.prompt);
    prompt_seconds_.push_back(seconds_since(start));
    measure_decode();
    result.prompt = spread_of(prompt_seconds_);
    result.decode = spread_of(decode_seconds_);
  }

  // Returns the number of tokens that count.
  int64_t measure_perplexity(std::span<const int32_t> text, const Tokenizer& tokenizer) {
    const TokenStream stream = {.size = static_cast<int64_t>(text.size()),
                                .token = [&](int64_t i) { return text[static_cast<size_t>(i)]; }};
    const TextLoss loss = text_loss(*model_, stream, {}, tokenizer);
    result.perplexity = loss.perplexity();
    return loss.tokens;
  }

  InferResult result;

 private:
  static size_t bytes_of_folder(const fs::path& folder) {
    size_t bytes = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      if (entry.is_regular_file() && entry.path().extension() == ".safetensors") bytes += entry.file_size();
    }
    return bytes;
  }

  int64_t vocab() const { return source_->config().vocab; }

  // A prompt of so many tokens.
  void forward(int64_t tokens) {
    const Gpt2Inference::Tokens t = {model_->cache().add(), std::span(ids_).first(static_cast<size_t>(tokens))};
    model_->forward(std::span(&t, 1), std::span(logits_).first(static_cast<size_t>(vocab())));
    model_->cache().remove(t.sequence);
  }

  // All sequences from their first token on. The step after that first one is the first that counts.
  void measure_decode() {
    std::vector<Gpt2Inference::Tokens> batch;
    for (size_t i = 0; i < static_cast<size_t>(options_.sequences); ++i) {
      batch.push_back({model_->cache().add(), std::span(ids_).subspan(i, 1)});
    }
    model_->forward(batch, logits_);
    const auto start = Clock::now();
    for (int64_t i = 0; i < options_.decode; ++i) model_->forward(batch, logits_);
    decode_seconds_.push_back(seconds_since(start) / static_cast<double>(options_.decode));
    for (const Gpt2Inference::Tokens& t : batch) model_->cache().remove(t.sequence);
  }

  const InferBenchOptions& options_;
  std::shared_ptr<const ModelSource> source_;
  std::unique_ptr<Gpt2Inference> model_;
  std::vector<int32_t> ids_;
  std::vector<float> logits_;
  std::vector<double> prompt_seconds_, decode_seconds_;
};

std::vector<int32_t> text_ids(const InferBenchOptions& o, const Tokenizer* tokenizer) {
  if (o.data.empty()) return {};
  check(tokenizer != nullptr, "{}: no tokenizer is known for it, to read {} with", o.model, o.data);
  std::vector<int32_t> ids;
  tokenizer->encode(read_file(o.data), ids);
  check(ids.size() >= 2, "{}: {} tokens are too few for a perplexity", o.data, ids.size());
  ids.resize(std::min(ids.size(), static_cast<size_t>(o.tokens) + 1));
  return ids;
}

}  // namespace

InferReport bench_infer(const InferBenchOptions& o, ThreadPool& pool,
                        const std::function<void(const std::string&)>& note) {
  const std::unique_ptr<Ops> ops = make_ops(o.device, pool);
  const TemporaryFolder folder;
  std::vector<std::unique_ptr<Subject>> subjects;
  std::shared_ptr<const Tokenizer> tokenizer;
  {
    std::unique_ptr<RandomModel> random;
    std::unique_ptr<ModelSource> file;
    if (fs::exists(o.model)) {
      file = open_model(o.model);
    } else {
      random = std::make_unique<RandomModel>(o.model, *ops);
    }
    const ModelSource& source = file != nullptr ? *file : *random->source;
    tokenizer = find_tokenizer(source);
    if (o.types.empty()) {
      check(file != nullptr, "{}: no such file or folder", o.model);
      subjects.push_back(std::make_unique<Subject>(std::string(name_of(matrix_type(source))), o.model, o, *ops));
    }
    for (const DType type : o.types) {
      const fs::path path = folder.path() / fmt::format("{}.gguf", name_of(type));
      note(fmt::format("writing the model as {}", name_of(type)));
      save_gguf(path, source, {.matrices = type, .embedding = type == DType::q4_0 ? DType::q8_0 : type},
                tokenizer.get());
    }
  }
  for (const DType type : o.types) {
    const fs::path path = folder.path() / fmt::format("{}.gguf", name_of(type));
    subjects.push_back(std::make_unique<Subject>(std::string(name_of(type)), path, o, *ops));
  }
  for (int64_t round = 0; round < o.rounds; ++round) {
    note(fmt::format("round {} of {}", round + 1, o.rounds));
    for (const auto& subject : subjects) subject->measure();
  }
  InferReport report = {.model = o.model,
                        .device = o.device,
                        .data = o.data,
                        .prompt_tokens = o.prompt,
                        .decode_tokens = o.decode,
                        .sequences = o.sequences};
  const std::vector<int32_t> text = text_ids(o, tokenizer.get());
  for (const auto& subject : subjects) {
    if (!text.empty()) {
      note(fmt::format("perplexity of {}", subject->result.type));
      report.perplexity_tokens = subject->measure_perplexity(text, *tokenizer);
    }
    report.types.push_back(subject->result);
  }
  return report;
}

}  // namespace ink::bench
