// config.json of a model folder, beside weights that do not change: those of seed_model() in make_corpus.py.
#include "fuzz/model_read.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ink;
  static const fs::path weights = fuzz::put("model.safetensors", read_file(INK_FUZZ_DIR "/corpus/safetensors/model"));
  fuzz::put("config.json", fuzz::text_of(data, size));
  fuzz::accepts([&] { fuzz::read_model(fuzz::folder()); });
  return 0;
}
