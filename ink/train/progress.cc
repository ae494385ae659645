#include "ink/train/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace ink {

namespace {

std::string human_count(double n) {
  if (n >= 1e6) return fmt::format("{:.2f}M", n / 1e6);
  if (n >= 1e4) return fmt::format("{:.1f}k", n / 1e3);
  return fmt::format("{:.0f}", n);
}

// A character cell of braille holds 2 x 4 dots; the bits of U+2800 in reading order.
constexpr int kDotsX = 2;
constexpr int kDotsY = 4;
constexpr uint8_t kDotBits[kDotsY][kDotsX] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};

std::string utf8(uint32_t code) {  // of a code point in U+0800..U+FFFF
  return {static_cast<char>(0xe0 | (code >> 12)), static_cast<char>(0x80 | ((code >> 6) & 0x3f)),
          static_cast<char>(0x80 | (code & 0x3f))};
}

// Maps points of (step, value) to dots of a grid.
class Canvas {
 public:
  Canvas(int width, int height, CurvePoint low, CurvePoint high)
      : width_(width), height_(height), low_(low), high_(high), cells_(width * height), marks_(width * height) {}

  void dot(const CurvePoint& p) { cells_[cell(x(p), y(p))] |= kDotBits[y(p) % kDotsY][x(p) % kDotsX]; }
  void mark(const CurvePoint& p) { marks_[cell(x(p), y(p))] = true; }

  std::string row(int r) const {
    std::string text;
    for (int c = 0; c < width_; ++c) {
      const int i = r * width_ + c;
      text += marks_[i] ? "o" : cells_[i] != 0 ? utf8(0x2800 + cells_[i]) : " ";
    }
    return text;
  }

 private:
  int x(const CurvePoint& p) const {
    const double share = static_cast<double>(p.step - low_.step) / static_cast<double>(high_.step - low_.step);
    return std::clamp(static_cast<int>(std::lround(share * (width_ * kDotsX - 1))), 0, width_ * kDotsX - 1);
  }
  int y(const CurvePoint& p) const {
    const double share = (high_.value - p.value) / (high_.value - low_.value);
    return std::clamp(static_cast<int>(std::lround(share * (height_ * kDotsY - 1))), 0, height_ * kDotsY - 1);
  }
  int cell(int dot_x, int dot_y) const { return dot_y / kDotsY * width_ + dot_x / kDotsX; }

  int width_, height_;
  CurvePoint low_, high_;
  std::vector<uint8_t> cells_;
  std::vector<bool> marks_;
};

}  // namespace

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 0.9995) return fmt::format("{:.0f}ms", seconds * 1000);
  if (seconds < 59.95) return fmt::format("{:.1f}s", seconds);
  const int64_t s = std::llround(seconds);
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h{:02}m", s / 3600, s % 3600 / 60);
  return fmt::format("{}d{:02}h", s / 86400, s % 86400 / 3600);
}

std::string step_line(const StepReport& r) {
  std::string line = fmt::format("step {}/{} | loss {:.4f} ({:.4f}) | lr {:.2e} | norm {:.3f} | {} tok/s", r.step + 1,
                                 r.steps, r.loss, r.smoothed_loss, r.lr, r.norm, human_count(r.tokens_per_second));
  if (r.peak_share > 0) line += fmt::format(" | {:.0f}% of peak", 100 * r.peak_share);
  line += fmt::format(" | {}", human_seconds(r.seconds));
  if (r.eta_seconds > 0) line += fmt::format(" | eta {}", human_seconds(r.eta_seconds));
  if (r.skipped) line += fmt::format(" | update skipped: loss z {:.1f}, norm z {:.1f}", r.loss_z, r.norm_z);
  return line;
}

std::string draw_loss_curve(const std::vector<CurvePoint>& train, const std::vector<CurvePoint>& validation, int width,
                            int height) {
  CurvePoint low = {0, INFINITY};
  CurvePoint high = {0, -INFINITY};
  bool first = true;
  for (const auto* points : {&train, &validation}) {
    for (const CurvePoint& p : *points) {
      if (!std::isfinite(p.value)) continue;
      low = {first ? p.step : std::min(low.step, p.step), std::min(low.value, p.value)};
      high = {first ? p.step : std::max(high.step, p.step), std::max(high.value, p.value)};
      first = false;
    }
  }
  if (first || high.step == low.step || !(high.value > low.value)) return "";
  Canvas canvas(width, height, low, high);
  for (const CurvePoint& p : train) {
    if (std::isfinite(p.value)) canvas.dot(p);
  }
  for (const CurvePoint& p : validation) {
    if (std::isfinite(p.value)) canvas.mark(p);
  }
  std::string text;
  for (int r = 0; r < height; ++r) {
    const double value = high.value - (high.value - low.value) * r / std::max(1, height - 1);
    const bool labelled = r == 0 || r == height - 1 || r == height / 2;
    text += (labelled ? fmt::format("{:8.3f} |", value) : std::string("         |")) + canvas.row(r) + "\n";
  }
  text += fmt::format("{:>8} +{:-<{}}\n", "loss", "", width);
  text += fmt::format("{:>10}{:<{}}{:>{}}\n", "", low.step, width / 2, high.step, width - width / 2);
  if (!validation.empty()) text += fmt::format("{:>10}o validation\n", "");
  return text;
}

Progress::Progress(std::FILE* out, bool terminal, int64_t log_every)
    : out_(out), terminal_(terminal), log_every_(log_every) {}

void Progress::clear_line() {
  if (live_) std::fputs("\r\x1b[K", out_);
  live_ = false;
}

void Progress::note(std::string_view text) {
  clear_line();
  fmt::print(out_, "{}\n", text);
  std::fflush(out_);
}

void Progress::step(const StepReport& r) {
  train_.push_back({r.step, r.loss});
  if (terminal_) {
    if (r.skipped) note(step_line(r));
    clear_line();
    fmt::print(out_, "{}", step_line(r));
    live_ = true;
    std::fflush(out_);
  } else if (train_.size() == 1 || r.step % log_every_ == 0 || r.step + 1 == r.steps || r.skipped) {
    note(step_line(r));
  }
}

void Progress::validation(int64_t step, double loss) {
  validation_.push_back({step, loss});
  note(fmt::format("step {} | validation loss {:.4f}", step, loss));
}

void Progress::sample(int64_t step, std::string_view text) {
  note(fmt::format("--- sample at step {}\n{}\n---", step, text));
}

void Progress::finish() {
  if (live_) std::fputc('\n', out_);
  live_ = false;
  if (terminal_) fmt::print(out_, "{}", draw_loss_curve(train_, validation_, 72, 14));
  std::fflush(out_);
}

}  // namespace ink
