// Token shards: opened, described, checked against a vocabulary, and served in batches in every order.
#include "ink/data/shard.h"

#include "fuzz/fuzz.h"
#include "ink/data/info.h"
#include "ink/data/loader.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ink;
  const fs::path path = fuzz::put("shard.bin", fuzz::text_of(data, size));
  fuzz::accepts([&] { describe_data(path); });
  if (!fuzz::accepts([&] { Shard{path}; })) return 0;
  const Shard shard(path);
  fuzz::expect(!shard.tokens().empty(), "a shard holds tokens");
  const uint16_t largest = largest_token(shard.tokens());
  fuzz::expect(fuzz::accepts([&] { check_vocab(shard, largest + 1); }), "the largest token is in the vocabulary");
  fuzz::expect(!fuzz::accepts([&] { check_vocab(shard, largest); }), "a token outside the vocabulary is told");
  for (const Order order : {Order::sequential, Order::batches, Order::sequences}) {
    fuzz::accepts([&] {
      Loader loader({.pattern = path.string(), .batch = 2, .context = 3, .order = order});
      std::vector<int32_t> inputs, targets;
      for (int64_t batch = 0; batch < loader.batches() + 1; ++batch) loader.next(inputs, targets);
    });
  }
  return 0;
}
