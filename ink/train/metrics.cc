#include "ink/train/metrics.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "ink/base/check.h"

namespace ink {

namespace {

using nlohmann::json;

// The number that follows key at the start of line, or -1.
int64_t step_of(std::string_view line, std::string_view key) {
  if (!line.starts_with(key)) return -1;
  int64_t step = -1;
  std::from_chars(line.data() + key.size(), line.data() + line.size(), step);
  return step;
}

// Drops the lines whose step is not below `step`, and whatever a killed process left unfinished at the end.
void truncate_log(const fs::path& path, std::string_view key, int64_t step) {
  if (!fs::exists(path)) return;
  const std::string text = read_file(path);
  std::string kept;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const std::string_view line = std::string_view(text).substr(begin, end - begin + 1);
    const int64_t at = step_of(line, key);
    if (at >= 0 && at < step) kept += line;
    begin = end + 1;
  }
  write_file(path, kept);
}

// JSON has no NaN.
json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

// One write a line: a reader that follows the file sees whole lines.
void write_line(OutputFile& file, const nlohmann::ordered_json& j) {
  file.write(j.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace

MetricsLog::MetricsLog(const fs::path& run, int64_t resume_step) {
  const fs::path log = run / "main.log";
  const fs::path metrics = run / "metrics.jsonl";
  truncate_log(log, "s:", resume_step);
  truncate_log(metrics, "{\"step\":", resume_step);
  log_ = OutputFile(log, OutputFile::Mode::append);
  metrics_ = OutputFile(metrics, OutputFile::Mode::append);
}

void MetricsLog::train(const StepReport& r) {
  log_.write(fmt::format("s:{} trl:{:.4f} lr:{:.6f} norm:{:.2f}\n", r.step, r.loss, r.lr, r.norm));
  nlohmann::ordered_json j = {{"step", r.step},
                              {"loss", number(r.loss)},
                              {"smoothed_loss", number(r.smoothed_loss)},
                              {"lr", r.lr},
                              {"norm", number(r.norm)},
                              {"loss_z", number(r.loss_z)},
                              {"norm_z", number(r.norm_z)},
                              {"skipped", r.skipped},
                              {"seconds", r.seconds},
                              {"tokens_per_second", number(r.tokens_per_second)}};
  write_line(metrics_, j);
}

void MetricsLog::validation(int64_t step, double loss) {
  log_.write(fmt::format("s:{} tel:{:.4f}\n", step, loss));
  write_line(metrics_, {{"step", step}, {"val_loss", number(loss)}});
}

void MetricsLog::sample(int64_t step, std::string_view text) {
  write_line(metrics_, {{"step", step}, {"sample", std::string(text)}});
}

}  // namespace ink
