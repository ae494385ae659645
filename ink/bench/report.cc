#include "ink/bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ink/tensor/plan.h"

namespace ink::bench {

namespace {

using Json = nlohmann::ordered_json;
using Rows = std::vector<std::vector<std::string>>;

// "1.85 s", "12.3 ms", "4.51 µs": three digits.
std::string human_time(double seconds) {
  const auto three = [](double value, const char* unit) {
    return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, unit);
  };
  if (seconds >= 0.9995) return three(seconds, "s");
  if (seconds >= 0.9995e-3) return three(seconds * 1e3, "ms");
  return three(seconds * 1e6, "µs");
}

std::string percent(double share) { return share > 0 ? fmt::format("{:.1f}%", 100 * share) : ""; }

std::string rate(const Cost& cost, double seconds) {
  if (seconds <= 0) return "";
  return fmt::format("{:.1f} {}", cost.amount() / seconds / 1e9, cost.bound == Bound::compute ? "GFLOP/s" : "GB/s");
}

// The share of its limit that a piece of work reaches; 0 if not known.
double share_of_peak(const Cost& cost, double seconds, const Peaks& peaks) {
  const double peak = peak_for(cost.bound, peaks);
  return peak > 0 && seconds > 0 ? cost.amount() / seconds / peak : 0;
}

std::string quartiles(const Spread& s) { return fmt::format("{}–{}", human_time(s.low), human_time(s.high)); }

std::string heading(const Workload& w) {
  return fmt::format("{}, B={} T={}, {}", w.model, w.batch, w.seq_len, name_of(w.products));
}

// Characters that a terminal shows: UTF-8's continuation bytes are none.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

bool is_number(const std::string& text) { return text.empty() || (text[0] >= '0' && text[0] <= '9') || text[0] == '-'; }

double reference_median(const OpResult& result) {
  for (const OpTiming& t : result.timings) {
    if (t.device == "ref") return t.seconds.median;
  }
  return 0;
}

std::string machine_markdown(const Machine& m) {
  Rows rows = {{"processor", m.cpu},
               {"threads", fmt::format("{} of {}", m.threads, m.hardware_threads)},
               {"memory", human_bytes(m.memory)}};
  for (const DeviceLine& d : m.devices) rows.push_back({"device " + d.name, d.description});
  if (m.peaks.flops > 0) {
    rows.push_back({"peak, multiply-adds", fmt::format("{:.1f} GFLOP/s", m.peaks.flops / 1e9)});
    rows.push_back({"peak, reading memory", fmt::format("{:.1f} GB/s", m.peaks.memory.read / 1e9)});
    rows.push_back({"peak, updating as AdamW", fmt::format("{:.1f} GB/s", m.peaks.memory.update / 1e9)});
  }
  rows.push_back({"version", m.version});
  return markdown_table({"machine", "value"}, rows);
}

std::string ops_markdown(const OpsReport& report, const Peaks& peaks) {
  const bool compare = !report.ops.empty() && report.ops.front().timings.size() > 1;
  const bool with_ref = compare && reference_median(report.ops.front()) > 0;
  std::vector<std::string> header = {"operation", "shape", "calls"};
  if (compare) header.emplace_back("device");
  for (const char* column : {"median", "quartiles", "runs", "speed", "of peak"}) header.emplace_back(column);
  if (with_ref) header.emplace_back("over ref");
  Rows rows;
  for (const OpResult& result : report.ops) {
    const OpCase& c = result.what;
    for (const OpTiming& t : result.timings) {
      std::vector<std::string> row = {c.name, c.shape, c.calls > 0 ? fmt::format("{}", c.calls) : "-"};
      if (compare) row.push_back(t.device);
      row.insert(row.end(), {human_time(t.seconds.median), quartiles(t.seconds), fmt::format("{}", t.seconds.runs),
                             rate(c.cost, t.seconds.median), percent(share_of_peak(c.cost, t.seconds.median, peaks))});
      if (with_ref) row.push_back(fmt::format("{:.1f}x", reference_median(result) / t.seconds.median));
      rows.push_back(std::move(row));
    }
  }
  std::string text = fmt::format("## Operations: {}\n\n{}\n", heading(report.workload), markdown_table(header, rows));
  if (report.ops.empty()) return text;
  for (size_t i = 0; i < report.ops.front().timings.size(); ++i) {
    double sum = 0;
    for (const OpResult& r : report.ops) sum += static_cast<double>(r.what.calls) * r.timings[i].seconds.median;
    text += fmt::format("One step's calls of these on {}, each with cold caches: {}\n",
                        report.ops.front().timings[i].device, human_time(sum));
  }
  return text;
}

std::string train_table(const TrainReport& r) {
  Rows rows = {{"step, median", human_time(r.seconds.median)},
               {"quartiles", quartiles(r.seconds)},
               {"steps", fmt::format("{}", r.seconds.runs)},
               {"speed", fmt::format("{:.1f} tokens/s", r.tokens_per_second)}};
  if (r.floor.seconds() > 0) {
    rows.push_back({"floor", fmt::format("{}: {} of products, {} of optimizer", human_time(r.floor.seconds()),
                                         human_time(r.floor.compute), human_time(r.floor.optimizer))});
    rows.push_back({"share of the floor", percent(r.floor.seconds() / r.seconds.median)});
  }
  rows.push_back({"memory, planned", human_bytes(r.planned_bytes)});
  rows.push_back({"memory, peak of the process", human_bytes(r.peak_bytes)});
  return markdown_table({"one step", "value"}, rows);
}

std::string shares_table(const TrainReport& r, const Peaks& peaks) {
  Rows rows;
  double limits = 0;
  for (const OpShare& op : r.ops) {
    const double peak = peak_for(op.cost.bound, peaks), limit = peak > 0 ? op.cost.amount() / peak : 0;
    limits += limit;
    rows.push_back({op.name, op.shape, fmt::format("{:g}", op.calls), human_time(op.seconds),
                    percent(op.seconds / r.seconds.median), rate(op.cost, op.seconds), human_time(limit),
                    percent(share_of_peak(op.cost, op.seconds, peaks))});
  }
  rows.push_back({"between operations", "", "", human_time(std::max(0.0, r.other_seconds)),
                  percent(std::max(0.0, r.other_seconds) / r.seconds.median), "", "", ""});
  rows.push_back({"all", "", "", human_time(r.seconds.median), "100.0%", "", human_time(limits),
                  percent(limits / r.seconds.median)});
  return markdown_table({"operation", "shape", "calls", "time", "of the step", "speed", "limit", "limit/time"}, rows);
}

std::string train_markdown(const TrainReport& r, const Peaks& peaks) {
  std::string text =
      fmt::format("## Training: {}, recompute {}, {}, {} thread{}\n\n{}\n{}", heading(r.workload), r.recompute,
                  r.device, r.threads, r.threads == 1 ? "" : "s", train_table(r), shares_table(r, peaks));
  if (r.scaling.empty()) return text;
  Rows rows;
  for (const ThreadsTiming& t : r.scaling) {
    rows.push_back({fmt::format("{}", t.threads), human_time(t.seconds.median), quartiles(t.seconds),
                    fmt::format("{:.2f}x", r.scaling.front().seconds.median / t.seconds.median)});
  }
  return text + "\n" + markdown_table({"threads", "step, median", "quartiles", "speed-up"}, rows);
}

std::string infer_markdown(const InferReport& r, const Peaks& peaks) {
  std::vector<std::string> header = {"weights",          "file", "first token",      "prompt, tokens/s", "GFLOP/s",
                                     "decode, tokens/s", "GB/s", "of memory's speed"};
  const bool perplexity = r.perplexity_tokens > 0;
  const double base = perplexity ? r.types.front().perplexity : 0;
  if (perplexity) header.insert(header.end(), {"perplexity", "beside " + r.types.front().type});
  Rows rows;
  for (const InferResult& t : r.types) {
    const double bytes_per_second = static_cast<double>(t.step_bytes) / t.decode.median;
    rows.push_back({t.type, human_bytes(t.file_bytes), human_time(t.first_token),
                    fmt::format("{:.1f}", static_cast<double>(r.prompt_tokens) / t.prompt.median),
                    fmt::format("{:.1f}", t.prompt_flops / t.prompt.median / 1e9),
                    fmt::format("{:.1f}", static_cast<double>(r.sequences) / t.decode.median),
                    fmt::format("{:.1f}", bytes_per_second / 1e9),
                    percent(peaks.memory.read > 0 ? bytes_per_second / peaks.memory.read : 0)});
    if (!perplexity) continue;
    rows.back().push_back(fmt::format("{:.4f}", t.perplexity));
    rows.back().push_back(fmt::format("{:+.3f}%", 100 * (t.perplexity / base - 1)));
  }
  std::string text = fmt::format("## Inference: {}, {}, prompts of {}, {} tokens decoded in {} sequence{}\n\n{}",
                                 r.model, r.device, r.prompt_tokens, r.decode_tokens, r.sequences,
                                 r.sequences == 1 ? "" : "s", markdown_table(header, rows));
  if (perplexity) text += fmt::format("\nPerplexity over {} tokens of {}.\n", r.perplexity_tokens, r.data);
  return text;
}

Json json_of(const Spread& s) {
  return {{"median_s", s.median}, {"q1_s", s.low}, {"q3_s", s.high}, {"best_s", s.best}, {"runs", s.runs}};
}

Json json_of(const Workload& w) {
  return {{"model", w.model}, {"batch", w.batch}, {"seq_len", w.seq_len}, {"dtype", name_of(w.products)}};
}

void add_cost(Json& json, const Cost& cost) {
  json["bound"] = cost.bound == Bound::compute ? "compute" : "memory";
  json["flops"] = cost.flops;
  json["bytes"] = cost.bytes;
}

// What a piece of work reaches: FLOP/s or bytes/s, and its share of the peak (null where that is not known).
void add_speed(Json& json, const Cost& cost, double seconds, const Peaks& peaks) {
  json[cost.bound == Bound::compute ? "flops_per_s" : "bytes_per_s"] = seconds > 0 ? cost.amount() / seconds : 0;
  const double share = share_of_peak(cost, seconds, peaks);
  json["share_of_peak"] = share > 0 ? Json(share) : Json();
}

Json json_of(const Gpt2Config& c) {
  return {{"context", c.context}, {"vocab", c.vocab},       {"layers", c.layers},
          {"heads", c.heads},     {"channels", c.channels}, {"parameters", c.parameters()}};
}

Json json_of(const Machine& m) {
  Json devices = Json::array();
  for (const DeviceLine& d : m.devices) devices.push_back({{"name", d.name}, {"description", d.description}});
  return {{"version", m.version},
          {"cpu", m.cpu},
          {"threads", m.threads},
          {"hardware_threads", m.hardware_threads},
          {"memory_bytes", m.memory},
          {"devices", devices},
          {"peak_flops_per_s", m.peaks.flops},
          {"peak_read_bytes_per_s", m.peaks.memory.read},
          {"peak_update_bytes_per_s", m.peaks.memory.update}};
}

Json json_of(const OpsReport& report, const Peaks& peaks) {
  Json json = json_of(report.workload);
  json["cases"] = Json::array();
  for (const OpResult& result : report.ops) {
    const OpCase& c = result.what;
    Json entry = {{"op", c.op}, {"name", c.name}, {"shape", c.shape}, {"dtype", c.dtype}, {"calls_per_step", c.calls}};
    add_cost(entry, c.cost);
    for (const OpTiming& t : result.timings) {
      Json timing = json_of(t.seconds);
      add_speed(timing, c.cost, t.seconds.median, peaks);
      if (const double ref = reference_median(result); ref > 0) timing["speedup_over_ref"] = ref / t.seconds.median;
      entry["devices"][t.device] = std::move(timing);
    }
    json["cases"].push_back(std::move(entry));
  }
  return json;
}

Json json_of(const TrainReport& r, const Peaks& peaks) {
  Json json = json_of(r.workload);
  json["config"] = json_of(config_from_name(r.workload.model));
  json["recompute"] = r.recompute;
  json["device"] = r.device;
  json["threads"] = r.threads;
  json["step"] = json_of(r.seconds);
  json["step_seconds"] = r.step_seconds;
  json["tokens_per_s"] = r.tokens_per_second;
  json["flops_per_step"] = r.floor.flops;
  json["floor_s"] = r.floor.seconds();
  json["floor_compute_s"] = r.floor.compute;
  json["floor_optimizer_s"] = r.floor.optimizer;
  json["share_of_floor"] = r.floor.seconds() / r.seconds.median;
  json["planned_bytes"] = r.planned_bytes;
  json["peak_bytes"] = r.peak_bytes;
  json["ops"] = Json::array();
  for (const OpShare& op : r.ops) {
    Json entry = {{"op", op.op},
                  {"name", op.name},
                  {"shape", op.shape},
                  {"dtype", op.dtype},
                  {"calls_per_step", op.calls},
                  {"seconds", op.seconds}};
    add_cost(entry, op.cost);
    add_speed(entry, op.cost, op.seconds, peaks);
    json["ops"].push_back(std::move(entry));
  }
  json["other_seconds"] = r.other_seconds;
  json["scaling"] = Json::array();
  for (const ThreadsTiming& t : r.scaling) {
    Json entry = {{"threads", t.threads}, {"speedup", r.scaling.front().seconds.median / t.seconds.median}};
    entry["step"] = json_of(t.seconds);
    json["scaling"].push_back(std::move(entry));
  }
  return json;
}

Json json_of(const InferReport& r, const Peaks& peaks) {
  Json json = {{"model", r.model},
               {"device", r.device},
               {"prompt_tokens", r.prompt_tokens},
               {"decode_tokens", r.decode_tokens},
               {"sequences", r.sequences},
               {"data", r.data},
               {"perplexity_tokens", r.perplexity_tokens}};
  json["types"] = Json::array();
  for (const InferResult& t : r.types) {
    const double bytes_per_second = static_cast<double>(t.step_bytes) / t.decode.median;
    json["types"].push_back(
        {{"type", t.type},
         {"file_bytes", t.file_bytes},
         {"first_token_s", t.first_token},
         {"prompt", json_of(t.prompt)},
         {"prompt_tokens_per_s", static_cast<double>(r.prompt_tokens) / t.prompt.median},
         {"prompt_flops", t.prompt_flops},
         {"decode_step", json_of(t.decode)},
         {"decode_tokens_per_s", static_cast<double>(r.sequences) / t.decode.median},
         {"decode_step_bytes", t.step_bytes},
         {"share_of_memory_speed", peaks.memory.read > 0 ? Json(bytes_per_second / peaks.memory.read) : Json()},
         {"perplexity", r.perplexity_tokens > 0 ? Json(t.perplexity) : Json()}});
  }
  return json;
}

}  // namespace

std::string to_json(const Report& report) {
  Json json = {{"machine", json_of(report.machine)}};
  if (report.ops) json["ops"] = json_of(*report.ops, report.machine.peaks);
  if (report.train) json["train"] = json_of(*report.train, report.machine.peaks);
  if (report.infer) json["infer"] = json_of(*report.infer, report.machine.peaks);
  return json.dump(2) + "\n";
}

std::string to_markdown(const Report& report) {
  std::string text = machine_markdown(report.machine);
  if (report.ops) text += "\n" + ops_markdown(*report.ops, report.machine.peaks);
  if (report.train) text += "\n" + train_markdown(*report.train, report.machine.peaks);
  if (report.infer) text += "\n" + infer_markdown(*report.infer, report.machine.peaks);
  return text;
}

std::string markdown_table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  const size_t columns = header.size();
  std::vector<size_t> widths(columns);
  std::vector<bool> numbers(columns, !rows.empty());
  for (size_t c = 0; c < columns; ++c) {
    widths[c] = std::max<size_t>(width_of(header[c]), 3);
    for (const auto& row : rows) {
      widths[c] = std::max(widths[c], width_of(row[c]));
      numbers[c] = numbers[c] && is_number(row[c]);
    }
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text = "|";
    for (size_t c = 0; c < columns; ++c) {
      const std::string pad(widths[c] - width_of(cells[c]), ' ');
      text += numbers[c] ? " " + pad + cells[c] + " |" : " " + cells[c] + pad + " |";
    }
    return text + "\n";
  };
  std::string text = line(header) + "|";
  for (size_t c = 0; c < columns; ++c)
    text += (numbers[c] ? std::string(widths[c] + 1, '-') + ":" : std::string(widths[c] + 2, '-')) + "|";
  text += "\n";
  for (const auto& row : rows) text += line(row);
  return text;
}

}  // namespace ink::bench
