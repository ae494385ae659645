// llm.c's model files.
#include "fuzz/model_read.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ink::fs::path path = ink::fuzz::put("model.bin", ink::fuzz::text_of(data, size));
  ink::fuzz::accepts([&] { ink::fuzz::read_model(path); });
  return 0;
}
