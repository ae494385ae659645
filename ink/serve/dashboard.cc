#include "ink/serve/dashboard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "ink/plot/series.h"

namespace ink {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr size_t kFileBytes = 64 << 10;  // of run.toml and run.json

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// A small file's text; nothing if it is not there, not a file or too large to be what it should.
std::optional<std::string> read_small_file(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  std::string text(kFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kFileBytes) return std::nullopt;
  return text;
}

// A JSON object's text, or null. What is nested deeper than it ever is in a run's file is left out: it would take more
// stack than a thread has.
json parse_object(const std::string& text) {
  constexpr int kDepth = 32;
  const auto shallow = [](int depth, json::parse_event_t, const json&) { return depth < kDepth; };
  json object = json::parse(text, shallow, false);
  return object.is_object() ? object : json();
}

json seconds_since_write(const fs::path& path) {
  std::error_code error;
  const fs::file_time_type written = fs::last_write_time(path, error);
  if (error) return nullptr;
  const std::chrono::duration<double> ago = fs::file_time_type::clock::now() - written;
  return std::max(0.0, std::round(10 * ago.count()) / 10);
}

template <class T>
T number_in_query(const HttpRequest& request, std::string_view name) {
  const std::string_view text = request.query_value(name);
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < 0) {
    throw HttpError(400, fmt::format("{} must be a number, 0 or above", name), std::string(name));
  }
  return value;
}

// Where a reader of a run's metrics stands: what was told, in which pieces, up to which step.
struct Cursor {
  int64_t generation = 0;
  int64_t size = 0;
  int64_t step = 0;
};

Cursor parse_cursor(std::string_view text) {
  std::array<int64_t, 3> numbers = {};
  const char* at = text.data();
  const char* end = at + text.size();
  for (int64_t& number : numbers) {
    if (&number != numbers.data() && at != end && *at == '.') ++at;
    const auto result = std::from_chars(at, end, number);
    if (result.ec != std::errc()) throw HttpError(400, "from must be a cursor of an earlier answer", "from");
    at = result.ptr;
  }
  if (at != end) throw HttpError(400, "from must be a cursor of an earlier answer", "from");
  return {.generation = numbers[0], .size = numbers[1], .step = numbers[2]};
}

void append_values(std::string& out, std::string_view name, std::span<const Bucket> buckets, float Bucket::*value) {
  fmt::format_to(std::back_inserter(out), ",\"{}\":[", name);
  for (const Bucket& bucket : buckets) {
    if (&bucket != buckets.data()) out += ',';
    if (std::isfinite(bucket.*value)) {
      fmt::format_to(std::back_inserter(out), "{:.7g}", bucket.*value);  // all that a float has
    } else {
      out += "null";
    }
  }
  out += ']';
}

void append_series(std::string& out, Metric metric, std::span<const Point> points, int64_t size) {
  const std::vector<Bucket> buckets = thin_out(points, size);
  const auto to = std::back_inserter(out);
  fmt::format_to(to, "{}\"{}\":{{\"size\":{},\"step\":[", out.back() == '{' ? "" : ",", metric_name(metric), size);
  for (const Bucket& bucket : buckets) fmt::format_to(to, "{}{}", &bucket == buckets.data() ? "" : ",", bucket.step);
  out += ']';
  append_values(out, "mean", buckets, &Bucket::mean);
  if (size > 1) {
    append_values(out, "low", buckets, &Bucket::low);
    append_values(out, "high", buckets, &Bucket::high);
  }
  out += '}';
}

}  // namespace

Dashboard::Dashboard(const std::vector<fs::path>& runs, bool model) : model_(model) {
  for (const fs::path& run : runs) runs_.emplace_back(run);
}

void Dashboard::add_routes(HttpServer& server) {
  const auto run_of = [](const HttpRequest& request) { return number_in_query<size_t>(request, "run"); };
  const auto answer = [](std::string body) {
    HttpResponse response;
    response.body = std::move(body);
    return response;
  };
  server.route("GET", "/api/runs", [this, answer](const HttpRequest&) { return answer(runs()); });
  server.route("GET", "/api/runs/details",
               [this, answer, run_of](const HttpRequest& request) { return answer(details(run_of(request))); });
  server.route("GET", "/api/runs/metrics", [this, answer, run_of](const HttpRequest& request) {
    const size_t run = run_of(request);
    if (request.query_value("first").empty()) return answer(metrics(run, request.query_value("from")));
    return answer(window(run, number_in_query<int64_t>(request, "first"), number_in_query<int64_t>(request, "last")));
  });
}

Dashboard::Run& Dashboard::at(size_t run) {
  if (run >= runs_.size()) {
    throw HttpError(404, fmt::format("there is no run {}; this server has {}", run, runs_.size()), "run");
  }
  return runs_[run];
}

std::string Dashboard::runs() {
  json list = json::array();
  for (Run& run : runs_) {
    const std::scoped_lock lock(run.mutex);
    run.log.update();
    list.push_back({{"name", run.log.name()},
                    {"last_step", run.log.last_step()},
                    {"generation", run.log.generation()},
                    {"last_sample", run.log.samples().empty() ? -1 : run.log.samples().back().step},
                    {"updated_seconds", seconds_since_write(run.log.path() / "metrics.jsonl")},
                    {"bad_lines", run.log.bad_lines()}});
  }
  return dump({{"model", model_}, {"runs", list}});
}

std::string Dashboard::details(size_t index) {
  Run& run = at(index);
  const std::scoped_lock lock(run.mutex);
  run.log.update();
  json samples = json::array();
  for (const Sample& sample : run.log.samples()) samples.push_back({{"step", sample.step}, {"text", sample.text}});
  const std::optional<std::string> options = read_small_file(run.log.path() / "run.toml");
  const json about = parse_object(read_small_file(run.log.path() / "run.json").value_or(""));
  return dump({{"options", options ? json(*options) : json()}, {"about", about}, {"samples", samples}});
}

std::string Dashboard::metrics(size_t index, std::string_view from) {
  Run& run = at(index);
  Cursor told;
  if (!from.empty()) told = parse_cursor(from);
  const std::scoped_lock lock(run.mutex);
  run.log.update();
  size_t points = 0;
  for (const Metric metric : kMetrics) points = std::max(points, run.log.points(metric).size());
  const int64_t largest = bucket_size(points, kBuckets);
  const bool reset = told.generation != run.log.generation() || told.size != largest;
  std::string body = fmt::format("{{\"cursor\":\"{}.{}.{}\",\"reset\":{},\"series\":{{", run.log.generation(), largest,
                                 std::max<int64_t>(0, run.log.last_step()), reset);
  for (const Metric metric : kMetrics) {
    const auto all = run.log.points(metric);
    const int64_t size = bucket_size(all.size(), kBuckets);
    const auto fresh =
        static_cast<size_t>(std::ranges::lower_bound(all, reset ? 0 : told.step, {}, &Point::step) - all.begin());
    // The last bucket told may have grown.
    append_series(body, metric, all.subspan(fresh - fresh % static_cast<size_t>(size)), size);
  }
  return body + "}}";
}

std::string Dashboard::window(size_t index, int64_t first, int64_t last) {
  Run& run = at(index);
  const std::scoped_lock lock(run.mutex);
  run.log.update();
  std::string body = "{\"series\":{";
  for (const Metric metric : kMetrics) {
    const auto points = within(run.log.points(metric), first, last);
    append_series(body, metric, points, bucket_size(points.size(), kBuckets));
  }
  return body + "}}";
}

}  // namespace ink
