// Training runs for a page in the browser: run folders in, JSON out (docs/serving.md, "The dashboard").
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "ink/plot/run_log.h"
#include "ink/serve/http_server.h"

namespace ink {

// Any thread may call it. A run is named by its index only: no path comes from a request.
class Dashboard {
 public:
  // What a line of a chart has at most: more points than this come in buckets.
  static constexpr size_t kBuckets = 2000;

  // Run folders, which need not hold anything yet. model: whether this server completes text too, for the page to know.
  explicit Dashboard(const std::vector<std::filesystem::path>& runs, bool model);

  // Adds GET /api/runs, /api/runs/details?run=N and /api/runs/metrics?run=N to a server, which it must outlive.
  void add_routes(HttpServer& server);

  // {"model": false, "runs": [{"name", "last_step", "generation", "last_sample", "updated_seconds", "bad_lines"}, ...]}
  std::string runs();

  // {"options": the text of run.toml, "about": run.json, "samples": [{"step", "text"}, ...]}; what is not there is
  // null.
  std::string details(size_t index);

  // {"cursor": "1.2.300", "reset": true, "series": {"loss": {"size": 1, "step": [...], "mean": [...]}, ...}}, with
  // "low" and "high" too where a bucket has more than one point. from is the cursor of an earlier answer, or nothing:
  // then all is told. An answer takes the place of what was told before from its first steps on; of everything if
  // reset is true, because the log was rewritten or the buckets have grown. Throws HttpError for another cursor.
  std::string metrics(size_t index, std::string_view from);

  // The same for the steps in [first, last] alone, as finely as fits, without a cursor.
  std::string window(size_t index, int64_t first, int64_t last);

 private:
  struct Run {
    explicit Run(std::filesystem::path path) : log(std::move(path)) {}
    std::mutex mutex;
    RunLog log;
  };
  Run& at(size_t run);

  std::deque<Run> runs_;
  bool model_;
};

}  // namespace ink
