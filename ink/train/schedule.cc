#include "ink/train/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "ink/base/suggest.h"

namespace ink {

namespace {

float warmed_up(const ScheduleOptions& o, int64_t step) {
  return o.lr * static_cast<float>(step + 1) / static_cast<float>(o.warmup);
}

// How far the decay from step `start` to the last has come, in [0, 1].
float progress(const ScheduleOptions& o, int64_t step, int64_t start) {
  const int64_t length = std::max<int64_t>(1, o.steps - start);
  return std::clamp(static_cast<float>(step - start) / static_cast<float>(length), 0.0f, 1.0f);
}

float constant(const ScheduleOptions& o, int64_t) { return o.lr; }

float linear(const ScheduleOptions& o, int64_t step) {
  if (step < o.warmup) return warmed_up(o, step);
  const float min_lr = o.lr * o.final_fraction;
  return o.lr - progress(o, step, o.warmup) * (o.lr - min_lr);
}

float cosine(const ScheduleOptions& o, int64_t step) {
  if (step < o.warmup) return warmed_up(o, step);
  const float min_lr = o.lr * o.final_fraction;
  const float coefficient = 0.5f * (1.0f + std::cos(std::numbers::pi_v<float> * progress(o, step, o.warmup)));
  return min_lr + coefficient * (o.lr - min_lr);
}

// Warmup, stable, then a decay by 1 - sqrt over the last fifth (Hägele et al. 2024, arXiv 2405.18392).
float wsd(const ScheduleOptions& o, int64_t step) {
  if (step < o.warmup) return warmed_up(o, step);
  const auto decay_start = static_cast<int64_t>(0.8f * static_cast<float>(o.steps));
  if (step < decay_start) return o.lr;
  const float min_lr = o.lr * o.final_fraction;
  return min_lr + (1.0f - std::sqrt(progress(o, step, decay_start))) * (o.lr - min_lr);
}

constexpr std::array kSchedules = {
    Schedule{"cosine", "linear warmup, then half a cosine down to the final fraction", cosine},
    Schedule{"linear", "linear warmup, then a straight line down to the final fraction", linear},
    Schedule{"constant", "the same at every step, no warmup", constant},
    Schedule{"wsd", "linear warmup, constant, then 1 - sqrt over the last fifth", wsd},
};

}  // namespace

std::span<const Schedule> schedules() { return kSchedules; }

const Schedule& find_schedule(std::string_view name) {
  std::array<std::string_view, kSchedules.size()> names;
  for (size_t i = 0; i < names.size(); ++i) {
    names[i] = kSchedules[i].name;
    if (names[i] == name) return kSchedules[i];
  }
  fail_unknown("schedule", name, names);
}

}  // namespace ink
