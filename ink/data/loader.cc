// The loader's order. Order::batches is step for step llm.c's (llmc/dataloader.h): the shards' order is shuffled on
// from the last epoch's, the order of a shard's samples from the identity each time the shard is entered; both draw
// from one generator. Order::sequences shuffles a shard's sequences instead of its batches.
#include "ink/data/loader.h"

#include <glob.h>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "ink/base/check.h"
#include "ink/base/sha256.h"
#include "ink/base/suggest.h"

namespace ink {

namespace {

// The files that match, as glob(3) orders them. A path that exists is itself, whatever characters it holds.
std::vector<fs::path> matching_files(const std::string& pattern) {
  std::error_code ignored;
  check(!fs::is_directory(pattern, ignored), "{}: is a folder, expected shards; name them, as in \"{}\"", pattern,
        (fs::path(pattern) / "*train*.bin").string());
  if (fs::exists(pattern, ignored)) return {pattern};
  glob_t found{};
  const int status = ::glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<fs::path> files;
  if (status == 0) files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  check(status == 0 || status == GLOB_NOMATCH, "{}: cannot search for shards; is the folder readable?", pattern);
  check(!files.empty(), "{}: no such file, nor files that match; `ink data prepare` writes shards", pattern);
  return files;
}

int64_t checked_sample_tokens(const LoaderOptions& o) {
  check(o.batch > 0 && o.context > 0, "batch {} and context {} must be at least 1", o.batch, o.context);
  check(o.ranks > 0 && o.rank >= 0 && o.rank < o.ranks, "rank {} of {} ranks does not exist", o.rank, o.ranks);
  constexpr int64_t most = std::numeric_limits<int32_t>::max();  // more tokens than a shard can hold
  check(o.batch <= most / o.context && o.batch * o.context <= most / o.ranks,
        "ranks {} x batch {} x context {} is more than a shard can hold; use a smaller --batch or --seq-len", o.ranks,
        o.batch, o.context);
  return o.ranks * o.batch * o.context;
}

// Tells data sets of equal size apart. The ends alone, so that terabytes are not read for it.
std::string fingerprint(const std::vector<Shard>& shards) {
  constexpr size_t kEndTokens = 4096 / sizeof(uint16_t);
  Sha256 hash;
  for (const Shard& shard : shards) {
    const std::span<const uint16_t> tokens = shard.tokens();
    const uint64_t held = tokens.size();
    hash.update(&held, sizeof held);
    for (const auto end :
         {tokens.first(std::min(tokens.size(), kEndTokens)), tokens.last(std::min(tokens.size(), kEndTokens))}) {
      hash.update(end.data(), end.size_bytes());
    }
  }
  return hash.hex();
}

// The names that --order takes, by value.
constexpr std::array<std::string_view, 3> kOrderNames = {"sequential", "batches", "sequences"};

bool is_permutation_of(const std::vector<int32_t>& order, int64_t n) {
  if (static_cast<int64_t>(order.size()) != n) return false;
  std::vector<bool> seen(order.size());
  for (const int32_t index : order) {
    if (index < 0 || index >= n || seen[index]) return false;
    seen[index] = true;
  }
  return true;
}

}  // namespace

std::string_view name_of(Order order) { return kOrderNames[static_cast<size_t>(order)]; }

Order order_from_name(std::string_view name) {
  const auto found = std::find(kOrderNames.begin(), kOrderNames.end(), name);
  if (found == kOrderNames.end()) fail_unknown("order", name, kOrderNames);
  return static_cast<Order>(found - kOrderNames.begin());
}

struct Loader::Impl {
  LoaderOptions options;
  std::vector<Shard> shards;
  LoaderState at;  // rng is kept in the generator
  Mt19937 generator;

  bool shuffled() const { return options.order != Order::sequential; }
  int64_t held(size_t shard) const { return static_cast<int64_t>(shards[shard].tokens().size()); }

  // Sequences that can be cut from a shard whatever the offset; a shard too short for one has no offset.
  bool has_offset(size_t shard) const { return held(shard) - options.context >= at.sample_tokens; }
  // How many places a shard's first sequence may start at.
  int64_t offsets(size_t shard) const {
    return options.order == Order::sequences && has_offset(shard) ? options.context : 1;
  }
  int64_t sequences(size_t shard) const {
    return (held(shard) - (has_offset(shard) ? options.context : 1)) / options.context;
  }

  // Batches that each rank can take from a shard: they are sample_tokens apart and need one token more.
  int64_t samples(size_t shard) const {
    if (options.order == Order::sequences) return sequences(shard) / (options.ranks * options.batch);
    return (held(shard) - 1) / at.sample_tokens;
  }

  // What is shuffled within a shard: its sequences or its batches.
  int64_t order_length(size_t shard) const {
    return options.order == Order::sequences ? sequences(shard) : samples(shard);
  }

  size_t shard_at(int64_t position, const std::vector<int32_t>& order) const {
    return static_cast<size_t>(order.empty() ? position : order[position]);
  }
  size_t current_shard() const { return shard_at(at.shard, at.shard_order); }

  void enter_shard() {
    at.sample = 0;
    if (!shuffled()) return;
    if (options.order == Order::sequences) {
      at.offset = has_offset(current_shard()) ? generator.next_u32() % offsets(current_shard()) : 0;
    }
    at.sample_order.resize(order_length(current_shard()));
    std::iota(at.sample_order.begin(), at.sample_order.end(), 0);
    generator.shuffle(at.sample_order);
  }

  void start_epoch() {
    at.shard = 0;
    if (shuffled()) generator.shuffle(at.shard_order);
    enter_shard();
  }

  void advance() {
    ++at.shard;
    if (at.shard < static_cast<int64_t>(shards.size())) return enter_shard();
    ++at.epoch;
    start_epoch();
  }
};

Loader::Loader(const LoaderOptions& options) : impl_(std::make_unique<Impl>()) {
  Impl& self = *impl_;
  self.options = options;
  self.at.sample_tokens = checked_sample_tokens(options);
  for (const fs::path& path : matching_files(options.pattern)) {
    const Shard& shard = self.shards.emplace_back(path);
    const auto held = static_cast<int64_t>(shard.tokens().size());
    check(held > self.at.sample_tokens,
          "{}: shard holds {} tokens, a batch needs {}; use a smaller --batch or --seq-len", path.string(), held,
          self.at.sample_tokens + 1);
    if (options.vocab > 0) check_vocab(shard, options.vocab);
    self.at.tokens += held;
  }
  self.at.data = fingerprint(self.shards);
  if (self.shuffled()) {
    self.generator.seed(options.seed + static_cast<uint32_t>(options.order == Order::batches ? options.rank : 0));
    self.at.shard_order.resize(self.shards.size());
    std::iota(self.at.shard_order.begin(), self.at.shard_order.end(), 0);
  }
  self.start_epoch();
}

Loader::~Loader() = default;

void Loader::next(std::vector<int32_t>& inputs, std::vector<int32_t>& targets) {
  Impl& self = *impl_;
  // A shard's end is noticed by the batch after it, so that a state saved there draws the same numbers on.
  if (self.at.sample >= self.samples(self.current_shard())) self.advance();
  const std::span<const uint16_t> shard = self.shards[self.current_shard()].tokens();
  const int64_t T = self.options.context;
  const int64_t length = self.options.batch * T;
  inputs.resize(length);
  targets.resize(length);
  const auto serve = [&](int64_t row, int64_t begin, int64_t count) {
    const auto tokens = shard.subspan(begin, count + 1);
    std::copy(tokens.begin(), tokens.end() - 1, inputs.begin() + row * T);
    std::copy(tokens.begin() + 1, tokens.end(), targets.begin() + row * T);
  };
  if (self.options.order == Order::sequences) {
    const int64_t first = (self.at.sample * self.options.ranks + self.options.rank) * self.options.batch;
    for (int64_t row = 0; row < self.options.batch; ++row) {
      serve(row, self.at.offset + self.at.sample_order[first + row] * T, T);
    }
  } else {
    const int64_t sample = self.shuffled() ? self.at.sample_order[self.at.sample] : self.at.sample;
    serve(0, sample * self.at.sample_tokens + self.options.rank * length, length);
  }
  ++self.at.sample;
}

void Loader::reset() {
  ++impl_->at.epoch;
  impl_->start_epoch();
}

int64_t Loader::tokens() const { return impl_->at.tokens; }

int64_t Loader::batches() const {
  int64_t sum = 0;
  for (size_t shard = 0; shard < impl_->shards.size(); ++shard) sum += impl_->samples(shard);
  return sum;
}

int64_t Loader::epoch() const { return impl_->at.epoch; }

LoaderState Loader::state() const {
  LoaderState state = impl_->at;
  state.order = impl_->options.order;
  if (impl_->shuffled()) state.rng = impl_->generator.save();
  return state;
}

void Loader::restore(const LoaderState& state) {
  Impl& self = *impl_;
  const std::string& pattern = self.options.pattern;
  const auto shards = static_cast<int64_t>(self.shards.size());
  check(state.tokens == self.at.tokens,
        "{}: {} tokens, but the saved position is in data of {}; resume with the same data", pattern, self.at.tokens,
        state.tokens);
  check(state.data == self.at.data, "{}: these are other shards than the saved position's; resume with the same data",
        pattern);
  check(state.sample_tokens == self.at.sample_tokens,
        "{}: the saved position counts samples of {} tokens, this run's of {}; resume with the "
        "same --batch and --seq-len",
        pattern, state.sample_tokens, self.at.sample_tokens);
  check(state.order == self.options.order,
        "{}: the saved position is in {} order, this run's is {}; resume with the same", pattern, name_of(state.order),
        name_of(self.options.order));
  check(self.shuffled() ? is_permutation_of(state.shard_order, shards) : state.shard_order.empty(),
        "{}: the saved order of {} shards does not fit these {}; resume with the same data", pattern,
        state.shard_order.size(), shards);
  check(state.shard >= 0 && state.shard < shards && state.epoch >= 0,
        "{}: the saved position, shard {} in epoch {}, does not exist among {} shards", pattern, state.shard,
        state.epoch, shards);
  const size_t shard = self.shard_at(state.shard, state.shard_order);
  const int64_t samples = self.samples(shard), ordered = self.order_length(shard);
  check(state.sample >= 0 && state.sample <= samples,
        "{}: the saved position, sample {}, is outside its shard of {} samples", pattern, state.sample, samples);
  check(self.shuffled() ? is_permutation_of(state.sample_order, ordered) : state.sample_order.empty(),
        "{}: the saved order of {} samples does not fit the shard's {}; resume with the same data and order", pattern,
        state.sample_order.size(), ordered);
  const int64_t offsets = self.offsets(shard);
  check(state.offset >= 0 && state.offset < offsets,
        "{}: the saved offset {} is not below {}; resume with the same data and order", pattern, state.offset, offsets);
  Mt19937 generator;
  if (self.shuffled()) generator.restore(state.rng);
  self.generator = generator;
  self.at = state;
  self.at.rng.clear();
}

}  // namespace ink
