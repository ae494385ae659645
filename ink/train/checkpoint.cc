#include "ink/train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/sha256.h"
#include "ink/format/json.h"
#include "ink/format/model_io.h"
#include "ink/format/safetensors.h"

namespace ink {

namespace {

using nlohmann::json;

constexpr int kTrainerVersion = 1;
constexpr std::string_view kPrefix = "step_";
constexpr std::string_view kSampleOrder = "loader.sample_order";
constexpr std::string_view kShardOrder = "loader.shard_order";
constexpr const char* kTrainerJson = "trainer.json";
constexpr const char* kTrainerTensors = "trainer.safetensors";

std::string state_name(const Gpt2& model, const Param& param, size_t index) {
  return model.options().optimizer_state[index] + "." + param.name;
}

json to_json(const OutlierDetector::State& s) {
  return {{"window", s.window}, {"next", s.next}, {"sum", s.sum}, {"sum_squares", s.sum_squares}};
}

// A count. Those beyond 2^53, which no run reaches, are refused, so that what is added to them cannot overflow.
int64_t count_at(const json& object, const char* key, const fs::path& path) {
  const json& value = object.at(key);
  const int64_t count = whole_number(value);
  check(count >= 0 && count <= int64_t{1} << 53, "{}: {} is {}, not a count", path.string(), key, short_dump(value));
  return count;
}

OutlierDetector::State outliers_from_json(const json& j, const fs::path& path) {
  OutlierDetector::State s;
  j.at("window").get_to(s.window);
  s.next = static_cast<size_t>(count_at(j, "next", path));
  j.at("sum").get_to(s.sum);
  j.at("sum_squares").get_to(s.sum_squares);
  check(s.window.size() <= OutlierDetector::kWindow && s.next < OutlierDetector::kWindow,
        "{}: an outlier window of {} values at {}, at most {} expected", path.string(), s.window.size(), s.next,
        OutlierDetector::kWindow);
  return s;
}

// Tensors are handed out in order, one at a time; an empty order is left out.
void add_order(std::vector<SafetensorsTensor>& tensors, std::string_view name, const std::vector<int32_t>& order) {
  if (order.empty()) return;
  tensors.push_back({.name = std::string(name),
                     .dtype = DType::i32,
                     .shape = {static_cast<int64_t>(order.size())},
                     .fill = [&order](size_t begin, std::span<std::byte> out) {
                       std::memcpy(out.data(), std::as_bytes(std::span(order)).data() + begin, out.size());
                     }});
}

std::vector<int32_t> read_order(const SafetensorsFile& file, std::string_view name) {
  const SafetensorsEntry* entry = file.find(std::string(name));
  if (entry == nullptr) return {};
  check(entry->dtype == "I32" && entry->shape.size() == 1, "{}: {} must be a list of I32", file.path().string(), name);
  std::vector<int32_t> order(entry->data.size() / sizeof(int32_t));
  std::memcpy(order.data(), entry->data.data(), order.size() * sizeof(int32_t));
  return order;
}

void write_trainer_tensors(const fs::path& path, const Gpt2& model, const TrainState& state) {
  std::vector<SafetensorsTensor> tensors;
  for (const Param& param : model.params()) {
    for (size_t i = 0; i < param.state.size(); ++i) {
      std::vector<int64_t> shape;
      for (int axis = 0; axis < param.weight.shape.rank(); ++axis) shape.push_back(param.weight.shape[axis]);
      tensors.push_back({.name = state_name(model, param, i),
                         .dtype = DType::f32,
                         .shape = std::move(shape),
                         .fill = [&model, tensor = param.state[i]](size_t begin, std::span<std::byte> out) {
                           const auto elements = static_cast<int64_t>(out.size() / sizeof(float));
                           model.ops().download(out.data(), {tensor.data + begin, DType::f32, {elements}});
                         }});
    }
  }
  add_order(tensors, kShardOrder, state.loader.shard_order);
  add_order(tensors, kSampleOrder, state.loader.sample_order);
  write_safetensors(path, tensors);
}

void read_trainer_tensors(const fs::path& path, Gpt2& model, TrainState& state) {
  const SafetensorsFile file(path);
  for (Param& param : model.params()) {
    for (size_t i = 0; i < param.state.size(); ++i) {
      const std::string name = state_name(model, param, i);
      const SafetensorsEntry* entry = file.find(name);
      check(entry != nullptr, "{}: tensor {} is missing", path.string(), name);
      check(entry->dtype == "F32" && entry->data.size() == param.state[i].bytes(),
            "{}: tensor {} is {} of {} bytes, expected F32 of {}", path.string(), name, entry->dtype,
            entry->data.size(), param.state[i].bytes());
      model.ops().upload(param.state[i], entry->data.data());
      file.drop(*entry);
    }
  }
  state.loader.shard_order = read_order(file, kShardOrder);
  state.loader.sample_order = read_order(file, kSampleOrder);
}

// trainer.json vouches for itself and for every other file.
std::string own_checksum(json j) {
  j.erase("checksum");
  return sha256_hex(j.dump());
}

json read_trainer_json(const fs::path& path) {
  const std::string text = read_file(path);
  json j = parse_json_object(path, "the training state", text);
  check(j.contains("version") && j["version"] == kTrainerVersion, "{}: not a training state of version {}",
        path.string(), kTrainerVersion);
  check(j.contains("checksum") && j["checksum"].is_string() && j["checksum"] == own_checksum(j),
        "{}: its checksum does not match; the file is damaged", path.string());
  return j;
}

void check_files(const fs::path& directory, const json& j) {
  for (const char* name : {"config.json", "model.safetensors", kTrainerTensors}) {
    check(j.at("files").contains(name), "{}: has no SHA-256 of {}", (directory / kTrainerJson).string(), name);
  }
  for (const auto& [name, expected] : j.at("files").items()) {
    const fs::path file = directory / fs::path(name).filename();
    const std::string actual = sha256_file(file);
    check(actual == expected.get<std::string>(),
          "{}: the file is damaged (SHA-256 {}…, written as {}…); remove this checkpoint to resume from an earlier one",
          file.string(), actual.substr(0, 12), expected.get<std::string>().substr(0, 12));
  }
}

}  // namespace

fs::path checkpoint_path(const fs::path& run, int64_t step) { return run / fmt::format("{}{:08d}", kPrefix, step); }

std::vector<CheckpointEntry> list_checkpoints(const fs::path& run) {
  std::vector<CheckpointEntry> found;
  std::error_code error;
  for (fs::directory_iterator entry(run, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    int64_t step = 0;
    const char* last = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + kPrefix.size(), last, step);
    if (parsed.ec != std::errc() || parsed.ptr != last || !fs::exists(entry->path() / kTrainerJson)) continue;
    found.push_back({step, entry->path()});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return found;
}

fs::path resolve_model_path(const fs::path& path) {
  check(fs::exists(path), "{}: no such file or folder", path.string());
  const std::vector<CheckpointEntry> checkpoints = list_checkpoints(path);
  return checkpoints.empty() ? path : checkpoints.back().path;
}

void save_checkpoint(const fs::path& run, const Gpt2& model, const Tokenizer* tokenizer, const TrainState& state) {
  const fs::path path = checkpoint_path(run, state.step);
  if (fs::exists(path / kTrainerJson)) return;  // a checkpoint of this step is this checkpoint: runs are deterministic
  AtomicDirectory directory(path);
  const fs::path& temporary = directory.temporary();
  save_huggingface(temporary, model, tokenizer);
  write_trainer_tensors(temporary / kTrainerTensors, model, state);

  json files = json::object();
  for (const fs::directory_entry& entry : fs::directory_iterator(temporary)) {
    files[entry.path().filename().string()] = sha256_file(entry.path());
  }
  json j = {{"version", kTrainerVersion},
            {"step", state.step},
            {"optimizer", state.optimizer},
            {"loader",
             {{"order", name_of(state.loader.order)},
              {"shard", state.loader.shard},
              {"sample", state.loader.sample},
              {"epoch", state.loader.epoch},
              {"offset", state.loader.offset},
              {"tokens", state.loader.tokens},
              {"data", state.loader.data},
              {"sample_tokens", state.loader.sample_tokens},
              {"rng", state.loader.rng}}},
            {"loss_outliers", to_json(state.loss_outliers)},
            {"norm_outliers", to_json(state.norm_outliers)},
            {"smoothed_loss", state.smoothed_loss},
            {"files", files}};
  j["checksum"] = own_checksum(j);
  write_file(temporary / kTrainerJson, j.dump(1) + "\n");
  directory.commit();
}

TrainState load_checkpoint(const fs::path& path, std::string_view optimizer, Gpt2& model) {
  const fs::path json_path = path / kTrainerJson;
  const json j = read_trainer_json(json_path);
  TrainState state;
  try {
    check_files(path, j);
    state.step = count_at(j, "step", json_path);
    check(path.filename() == checkpoint_path("", state.step).filename(), "{}: it is of step {}, the folder is {}",
          json_path.string(), state.step, path.filename().string());
    state.optimizer = j.at("optimizer").get<std::string>();
    const json& loader = j.at("loader");
    state.loader.order = order_from_name(loader.at("order").get<std::string>());
    state.loader.shard = count_at(loader, "shard", json_path);
    state.loader.sample = count_at(loader, "sample", json_path);
    state.loader.epoch = count_at(loader, "epoch", json_path);
    state.loader.offset = count_at(loader, "offset", json_path);
    state.loader.tokens = count_at(loader, "tokens", json_path);
    state.loader.data = loader.at("data").get<std::string>();
    state.loader.sample_tokens = count_at(loader, "sample_tokens", json_path);
    state.loader.rng = loader.at("rng").get<std::string>();
    state.loss_outliers = outliers_from_json(j.at("loss_outliers"), json_path);
    state.norm_outliers = outliers_from_json(j.at("norm_outliers"), json_path);
    state.smoothed_loss = j.at("smoothed_loss").get<double>();
  } catch (const json::exception& error) {
    fail("{}: {}", json_path.string(), error.what());
  }
  if (state.optimizer != optimizer) {
    throw UsageError(fmt::format("{} was trained with {}, --optimizer {} cannot go on from it", path.string(),
                                 state.optimizer, optimizer));
  }
  load_weights(path, model);
  read_trainer_tensors(path / kTrainerTensors, model, state);
  return state;
}

void remove_checkpoint(const CheckpointEntry& checkpoint) {
  const fs::path doomed = checkpoint.path.parent_path() / ("." + checkpoint.path.filename().string() + ".tmp");
  std::error_code error;
  fs::rename(checkpoint.path, doomed, error);
  check(!error, "{}: cannot remove the checkpoint: {}", checkpoint.path.string(), error.message());
  remove_tree(doomed);
}

void prune_checkpoints(const fs::path& run, int64_t keep, int64_t major_every) {
  if (keep <= 0) return;
  const std::vector<CheckpointEntry> all = list_checkpoints(run);
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) {
    if (major_every > 0 && all[i].step % major_every == 0) continue;
    remove_checkpoint(all[i]);
  }
}

}  // namespace ink
