// Learning rate schedules, llm.c's (llmc/schedulers.h): one row each.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace ink {

struct ScheduleOptions {
  float lr = 3e-4f;          // the highest
  int64_t warmup = 0;        // steps of linear rise from lr / warmup
  int64_t steps = 0;         // of the whole run
  float final_fraction = 1;  // of lr, reached at the last step
};

struct Schedule {
  std::string_view name;
  std::string_view description;
  float (*lr)(const ScheduleOptions& options, int64_t step);  // step counts from 0
};

std::span<const Schedule> schedules();

// Throws UsageError naming the nearest schedule.
const Schedule& find_schedule(std::string_view name);

}  // namespace ink
