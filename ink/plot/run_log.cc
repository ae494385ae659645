#include "ink/plot/run_log.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

namespace ink {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr size_t kChunk = 1 << 20;
constexpr size_t kBeforeBytes = 512;  // a record's seconds alone tell two runs of the same steps apart
constexpr int64_t kMaxStep = int64_t{1} << 53;

// At most `bytes` of a text, cut between characters.
std::string cut(std::string text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  text.resize(bytes);
  return text + "…";
}

// NaN for null, and for what is no finite float.
float float_of(const json& field) {
  const double value = field.is_null() ? std::numeric_limits<double>::infinity() : field.get<double>();
  const bool fits = std::fabs(value) <= std::numeric_limits<float>::max();
  return fits ? static_cast<float>(value) : std::numeric_limits<float>::quiet_NaN();
}

}  // namespace

std::string_view metric_name(Metric metric) {
  constexpr std::array<std::string_view, kMetrics.size()> kNames = {"loss", "val_loss", "lr", "norm",
                                                                    "tokens_per_second"};
  return kNames[static_cast<size_t>(metric)];
}

RunLog::RunLog(fs::path run) : run_(std::move(run)) {}

std::string RunLog::name() const {
  const fs::path path = fs::absolute(run_).lexically_normal();
  return (path.filename().empty() ? path.parent_path() : path).filename().string();
}

void RunLog::update() {
  const fs::path path = run_ / "metrics.jsonl";
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return;  // a pipe would wait for its writer
  std::ifstream file(path, std::ios::binary);
  if (!file) return;
  if (!same_file(file)) clear();
  file.clear();
  file.seekg(static_cast<std::streamoff>(offset_));
  std::string buffer;
  for (;;) {
    const size_t kept = buffer.size();
    buffer.resize(kept + kChunk);
    file.read(buffer.data() + kept, static_cast<std::streamsize>(kChunk));
    buffer.resize(kept + static_cast<size_t>(file.gcount()));
    if (buffer.size() == kept) break;
    size_t begin = 0;
    for (size_t end = 0; (end = buffer.find('\n', begin)) != std::string::npos; begin = end + 1) {
      if (!overlong_) read_line(std::string_view(buffer).substr(begin, end - begin));
      overlong_ = false;
    }
    if (buffer.size() - begin > kLineBytes) {
      bad_lines_ += overlong_ ? 0 : 1;
      overlong_ = true;
      begin = buffer.size();
    }
    if (begin == 0) continue;
    offset_ += begin;
    before_ = (before_ + buffer.substr(0, begin));
    before_.erase(0, before_.size() - std::min(before_.size(), kBeforeBytes));
    buffer.erase(0, begin);
  }
}

// A resumed run writes its log anew up to the checkpoint's step; it may have grown beyond offset_ again since.
bool RunLog::same_file(std::istream& file) const {
  std::string bytes(before_.size(), '\0');
  file.seekg(static_cast<std::streamoff>(offset_ - before_.size()));
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return static_cast<size_t>(file.gcount()) == bytes.size() && bytes == before_;
}

void RunLog::clear() {
  for (auto& points : points_) points.clear();
  samples_.clear();
  before_.clear();
  offset_ = 0;
  overlong_ = false;
  last_step_ = -1;
  bad_lines_ = 0;
  ++generation_;
}

void RunLog::read_line(std::string_view line) {
  const json record = line.size() > kLineBytes ? json() : json::parse(line, nullptr, false);
  const auto step_field = record.is_object() ? record.find("step") : record.end();
  if (!record.is_object() || step_field == record.end() || !step_field->is_number_integer() ||
      (step_field->is_number_unsigned() && step_field->get<uint64_t>() > uint64_t{kMaxStep}) ||
      step_field->get<int64_t>() < 0) {
    ++bad_lines_;
    return;
  }
  const int64_t step = step_field->get<int64_t>();
  for (const Metric metric : kMetrics) {
    const auto field = record.find(metric_name(metric));
    if (field == record.end() || !(field->is_number() || field->is_null())) continue;
    std::vector<Point>& points = points_[static_cast<size_t>(metric)];
    if (!points.empty() && points.back().step >= step) rewind(step);
    const float value = float_of(*field);
    if (points.size() < kPoints) points.push_back({step, value});
  }
  const auto sample = record.find("sample");
  if (sample != record.end() && sample->is_string()) add_sample(step, sample->get<std::string>());
  last_step_ = std::max(last_step_, step);
}

// Drops what the log knows of `step` and later ones.
void RunLog::rewind(int64_t step) {
  for (auto& points : points_) {
    const auto at = std::lower_bound(points.begin(), points.end(), step,
                                     [](const Point& point, int64_t s) { return point.step < s; });
    points.erase(at, points.end());
  }
  while (!samples_.empty() && samples_.back().step >= step) samples_.pop_back();
  last_step_ = step - 1;
  ++generation_;
}

void RunLog::add_sample(int64_t step, std::string text) {
  if (!samples_.empty() && samples_.back().step >= step) rewind(step);
  samples_.push_back({step, cut(std::move(text), kSampleBytes)});
  if (samples_.size() > kSamples) samples_.pop_front();
}

}  // namespace ink
