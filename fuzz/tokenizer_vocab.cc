// vocab.json with merges.txt, a NUL byte between them.
#include "fuzz/tokenizer_use.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ink;
  std::string_view input = fuzz::text_of(data, size);
  fuzz::put("vocab.json", fuzz::take_part(input));
  fuzz::put("merges.txt", input);
  std::shared_ptr<const Tokenizer> tokenizer;
  if (fuzz::accepts([&] { tokenizer = load_tokenizer(fuzz::folder()); })) fuzz::use_tokenizer(*tokenizer);
  return 0;
}
