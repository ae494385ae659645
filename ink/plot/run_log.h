// A run folder's metrics.jsonl as a reader follows it while the run goes on (docs/training.md, "The run folder").
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ink {

enum class Metric : uint8_t { loss, val_loss, lr, norm, tokens_per_second };

constexpr std::array kMetrics = {Metric::loss, Metric::val_loss, Metric::lr, Metric::norm, Metric::tokens_per_second};

// The field of metrics.jsonl.
std::string_view metric_name(Metric metric);

struct Point {
  int64_t step = 0;
  float value = 0;  // NaN: was not finite
};

struct Sample {
  int64_t step = 0;
  std::string text;  // UTF-8, at most RunLog::kSampleBytes and an ellipsis
};

class RunLog {
 public:
  static constexpr size_t kSamples = 32;              // the newest are kept
  static constexpr size_t kSampleBytes = 16 << 10;    // of each
  static constexpr size_t kLineBytes = 1 << 20;       // longer lines are no records
  static constexpr size_t kPoints = size_t{4} << 20;  // of a metric, the first ones: what memory a reader may take

  // The folder need not hold anything yet.
  explicit RunLog(std::filesystem::path run);

  const std::filesystem::path& path() const { return run_; }
  // The folder's name.
  std::string name() const;

  // Reads what was written since the last call. A line without its end is left for the next one. A record whose step
  // the log has passed already takes the place of what is there from that step on: the run was resumed earlier. So does
  // a file that is another one than before. Throws nothing but for memory: what cannot be read is not there yet.
  void update();

  // In the order of their steps, which grow strictly.
  std::span<const Point> points(Metric metric) const { return points_[static_cast<size_t>(metric)]; }
  const std::deque<Sample>& samples() const { return samples_; }
  int64_t last_step() const { return last_step_; }  // -1: no records
  // Grows whenever what was read before is replaced, and not only added to.
  int64_t generation() const { return generation_; }
  int64_t bad_lines() const { return bad_lines_; }  // that are no records

 private:
  bool same_file(std::istream& file) const;
  void clear();
  void read_line(std::string_view line);
  void rewind(int64_t step);
  void add_sample(int64_t step, std::string text);

  std::filesystem::path run_;
  uint64_t offset_ = 0;    // where the next line begins
  std::string before_;     // the bytes before offset_: whether the file is still the same
  bool overlong_ = false;  // offset_ lies in a line that is too long
  std::array<std::vector<Point>, kMetrics.size()> points_;
  std::deque<Sample> samples_;
  int64_t last_step_ = -1;
  int64_t generation_ = 0;
  int64_t bad_lines_ = 0;
};

}  // namespace ink
