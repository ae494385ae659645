// trainer.json and trainer.safetensors of a checkpoint, a NUL byte between them, and the position they give to a
// loader. The rest of the checkpoint does not change. Checksums are put in: they would stop nearly every input.
#include <nlohmann/json.hpp>

#include "fuzz/fuzz.h"
#include "ink/base/sha256.h"
#include "ink/data/loader.h"
#include "ink/data/shard.h"
#include "ink/format/json.h"
#include "ink/format/model_io.h"
#include "ink/ref/ref_ops.h"
#include "ink/train/checkpoint.h"

namespace {

using namespace ink;
using nlohmann::json;

constexpr const char* kStep = "step_00000003";
constexpr Gpt2Config kConfig = {.context = 4, .vocab = 5, .layers = 1, .heads = 1, .channels = 2};

std::string with_checksums(std::string_view text) {
  json j;
  try {
    j = parse_json_object("trainer.json", "the training state", text);
  } catch (const Error&) {
    return std::string(text);
  }
  json& files = j["files"];
  if (files.is_object()) {
    for (const char* name : {"config.json", "model.safetensors", "trainer.safetensors"}) {
      if (files.contains(name)) files[name] = sha256_file(fuzz::folder() / kStep / name);
    }
  }
  j.erase("checksum");
  try {
    j["checksum"] = sha256_hex(j.dump());
  } catch (const json::exception&) {  // text that is not UTF-8
  }
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static RefOps ops(DType::f32);
  static Gpt2 model(kConfig, {.batch = 1, .context = 2, .training = true, .optimizer_state = {"m"}}, ops);
  static const fs::path shard = [] {
    model.allocate();
    make_directories(fuzz::folder() / kStep);
    save_huggingface(fuzz::folder() / kStep, model);
    std::vector<int32_t> tokens(32);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i % 5);
    ShardWriter writer(fuzz::folder() / "shard.bin");
    writer.write(std::span<const int32_t>(tokens));
    writer.commit();
    return fuzz::folder() / "shard.bin";
  }();
  std::string_view input = fuzz::text_of(data, size);
  const std::string_view text = fuzz::take_part(input);
  fuzz::put(fs::path(kStep) / "trainer.safetensors", input);
  fuzz::put(fs::path(kStep) / "trainer.json", with_checksums(text));
  TrainState state;
  if (!fuzz::accepts([&] { state = load_checkpoint(fuzz::folder() / kStep, "adamw", model); })) return 0;
  OutlierDetector outliers;
  outliers.restore(state.loss_outliers);
  outliers.update(1);
  outliers.restore(state.norm_outliers);
  outliers.update(1);
  for (const Order order : {Order::sequential, Order::batches, Order::sequences}) {
    Loader loader({.pattern = shard.string(), .batch = 1, .context = 2, .order = order});
    // Which data it was is not for the input to guess, nor the generator's thousands of digits.
    const LoaderState fresh = loader.state();
    state.loader.tokens = fresh.tokens;
    state.loader.data = fresh.data;
    state.loader.sample_tokens = fresh.sample_tokens;
    state.loader.order = fresh.order;
    if (state.loader.rng.empty()) state.loader.rng = fresh.rng;
    if (!fuzz::accepts([&] { loader.restore(state.loader); })) continue;
    std::vector<int32_t> inputs, targets;
    for (int64_t batch = 0; batch < loader.batches() + 1; ++batch) loader.next(inputs, targets);
  }
  return 0;
}
