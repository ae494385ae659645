// llm.c's tokenizer file.
#include "fuzz/tokenizer_use.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ink;
  const fs::path path = fuzz::put("gpt2_tokenizer.bin", fuzz::text_of(data, size));
  std::shared_ptr<const Tokenizer> tokenizer;
  if (fuzz::accepts([&] { tokenizer = load_tokenizer(path); })) fuzz::use_tokenizer(*tokenizer);
  return 0;
}
