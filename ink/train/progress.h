// Progress for people: one live line on a terminal, plain lines elsewhere, and a loss curve at the end.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "ink/train/metrics.h"

namespace ink {

// "step 12/2000 | loss 3.1234 (3.2010) | lr 1.00e-03 | norm 0.81 | 31.2k tok/s | 43% of peak | eta 1m20s".
std::string step_line(const StepReport& report);

// "850ms", "12.3s", "4m05s", "2h31m", "3d04h".
std::string human_seconds(double seconds);

struct CurvePoint {
  int64_t step;
  double value;
};

// Losses over steps as a drawing of braille dots, width x height characters plus axes; the validation losses are marked
// with 'o'. Empty for fewer than two points and where nothing changes.
std::string draw_loss_curve(const std::vector<CurvePoint>& train, const std::vector<CurvePoint>& validation, int width,
                            int height);

class Progress {
 public:
  // terminal: rewrite one line in place. Otherwise a line every log_every steps, and the first and last.
  Progress(std::FILE* out, bool terminal, int64_t log_every);
  virtual ~Progress() = default;

  // A line of its own, above the live line.
  void note(std::string_view text);
  virtual void step(const StepReport& report);
  void validation(int64_t step, double loss);
  void sample(int64_t step, std::string_view text);
  // Ends the live line; on a terminal draws the curve.
  virtual void finish();

 private:
  void clear_line();

  std::FILE* out_;
  bool terminal_;
  bool live_ = false;  // a live line is showing
  int64_t log_every_;
  std::vector<CurvePoint> train_;
  std::vector<CurvePoint> validation_;
};

}  // namespace ink
