#include "ink/train/convert.h"

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/format/model_io.h"
#include "ink/infer/model.h"
#include "ink/train/checkpoint.h"

namespace ink {

std::string convert_model(const fs::path& in, const fs::path& out, bool bf16, Ops& ops) {
  const fs::path path = resolve_model_path(in);
  check(!fs::exists(out), "{}: exists already; choose another name or remove it", out.string());
  const bool to_llmc = out.extension() == ".bin";
  if (bf16 && !to_llmc) throw UsageError(fmt::format("--bf16: {} is not an llm.c .bin file", out.string()));
  const Gpt2Config config = read_model_config(path);
  Gpt2 model(config, Gpt2Options{.batch = 1, .context = 1}, ops);
  model.allocate();
  load_weights(path, model);
  const std::string what = fmt::format("{:.1f}M parameters", static_cast<double>(config.parameters()) / 1e6);
  if (to_llmc) {
    save_llmc(out, model, bf16);
    return fmt::format("wrote {}: llm.c model, version {}, {}", out.string(), bf16 ? 5 : 3, what);
  }
  const std::shared_ptr<const Tokenizer> tokenizer = find_tokenizer(path, config.vocab);
  AtomicDirectory directory(out);
  save_huggingface(directory.temporary(), model);
  if (tokenizer != nullptr) tokenizer->save(directory.temporary());
  directory.commit();
  return fmt::format("wrote {}: Hugging Face model folder, f32, {}, {}", out.string(), what,
                     tokenizer != nullptr ? fmt::format("{} tokenizer", tokenizer->name()) : "no tokenizer known");
}

}  // namespace ink
