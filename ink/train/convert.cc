#include "ink/train/convert.h"

#include <array>
#include <map>
#include <memory>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/suggest.h"
#include "ink/format/model_io.h"
#include "ink/format/onnx.h"
#include "ink/infer/model.h"
#include "ink/tensor/plan.h"
#include "ink/text/vocabulary.h"
#include "ink/train/checkpoint.h"

namespace ink {

namespace {

constexpr std::array kTypes = {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0};

std::string parameters(const ModelSource& source) {
  return fmt::format("{:.1f}M parameters", static_cast<double>(source.config().parameters()) / 1e6);
}

std::unique_ptr<ModelSource> open_input(const fs::path& in, const fs::path& out) {
  std::unique_ptr<ModelSource> source = open_model(resolve_model_path(in));
  check(!fs::exists(out), "{}: exists already; choose another name or remove it", out.string());
  return source;
}

// What became of the values, for the line that says what was done.
std::string loss(const ModelSource& source, DType dtype) {
  if (dtype == DType::f32) return block_of(matrix_type(source)) == 1 ? "" : ", blocks widened to what they stand for";
  return fits(source, dtype) ? "" : fmt::format(", values rounded to {}", name_of(dtype));
}

// llm.c's format has no place for a tokenizer: one that the model brings goes to its own file beside.
std::string to_llmc(const ModelSource& source, const fs::path& out, std::optional<DType> dtype) {
  if (dtype && *dtype != DType::f32 && *dtype != DType::bf16) {
    throw UsageError(fmt::format("--dtype {}: llm.c's .bin files hold f32 or bf16", name_of(*dtype)));
  }
  const DType type = dtype.value_or(lossless_type(source) == DType::bf16 ? DType::bf16 : DType::f32);
  std::string beside = "no tokenizer";
  fs::path made;
  if (const std::shared_ptr<const Tokenizer> tokenizer = source.tokenizer()) {
    const fs::path path = llmc_tokenizer_path(out);
    const std::string file = llmc_tokenizer_file(*tokenizer, path.string());
    if (!fs::exists(path)) {
      write_file(path, file);
      made = path;
    } else {  // the same one, as a run that was killed leaves it, will do
      check(MappedFile(path).text() == file, "{}: exists already; remove it or choose another name for the model",
            path.string());
    }
    beside = fmt::format("{} tokenizer beside it in {}", tokenizer->name(), path.filename().string());
  }
  try {
    save_llmc(out, source, type == DType::bf16);
  } catch (...) {  // both or none
    if (!made.empty()) remove_tree(made);
    throw;
  }
  return fmt::format("llm.c model, version {}, {}, {}{}, {}", type == DType::bf16 ? 5 : 3, name_of(type),
                     parameters(source), loss(source, type), beside);
}

std::string to_huggingface(const ModelSource& source, const fs::path& out, std::optional<DType> dtype) {
  const DType type = dtype.value_or(lossless_type(source));
  const std::shared_ptr<const Tokenizer> tokenizer = find_tokenizer(source);
  AtomicDirectory directory(out);
  save_huggingface(directory.temporary(), source, type, tokenizer.get());
  directory.commit();
  return fmt::format("Hugging Face model folder, {}, {}{}, {}", name_of(type), parameters(source), loss(source, type),
                     tokenizer != nullptr ? fmt::format("{} tokenizer", tokenizer->name()) : "no tokenizer known");
}

std::string to_gguf(const ModelSource& source, const fs::path& out, const GgufTypes& types) {
  const std::shared_ptr<const Tokenizer> tokenizer = find_tokenizer(source);
  save_gguf(out, source, types, tokenizer.get());
  const DType type = types.matrices.value_or(matrix_type(source));
  return fmt::format("GGUF, {}, {}{}, {}", name_of(type), parameters(source),
                     types.matrices && block_of(type) == 1 ? loss(source, type) : "",
                     tokenizer != nullptr ? fmt::format("{} tokenizer", tokenizer->name()) : "no tokenizer known");
}

std::string write_model(const ModelSource& source, const fs::path& out, std::optional<DType> dtype) {
  if (out.extension() == ".bin") return to_llmc(source, out, dtype);
  if (out.extension() == ".gguf") return to_gguf(source, out, {dtype, dtype});
  return to_huggingface(source, out, dtype);
}

}  // namespace

DType dtype_from_name(std::string_view name) {
  std::vector<std::string_view> names;
  for (const DType type : kTypes) {
    if (name_of(type) == name) return type;
    names.push_back(name_of(type));
  }
  fail_unknown("type", name, names);
}

std::string convert_model(const fs::path& in, const fs::path& out, std::optional<DType> dtype) {
  if (dtype && block_of(*dtype) > 1) {
    throw UsageError(fmt::format("--dtype {}: use `ink quantize` for types of blocks", name_of(*dtype)));
  }
  const std::unique_ptr<ModelSource> source = open_input(in, out);
  const std::string read = "read " + source->description();
  if (out.extension() == ".onnx") {
    if (dtype == DType::bf16) throw UsageError("--dtype bf16: ONNX files hold f32 or f16");
    const DType type = dtype.value_or(lossless_type(*source) == DType::f16 ? DType::f16 : DType::f32);
    return fmt::format("{}; {}", read, save_onnx(out, *source, {.dtype = type}));
  }
  return fmt::format("{}; wrote {}: {}", read, out.string(), write_model(*source, out, dtype));
}

// --- quantizing ---

namespace {

// The classes of tensors, in the order of the report.
constexpr std::array<std::string_view, 4> kClasses = {"token embedding", "classifier", "layers' matrices",
                                                      "vectors, positions"};
size_t class_of(const ParamSpec& spec) {
  if (spec.vocab_rows) return spec.untied ? 1 : 0;
  return spec.transposed ? 2 : 3;
}

struct Row {
  std::map<std::string_view, int> types;  // the type's name, and how many tensors have it
  size_t before = 0, after = 0;
  bool fell_back = false;
};

std::array<Row, kClasses.size()> classify(const ModelSource& source, const GgufTypes& types) {
  std::array<Row, kClasses.size()> rows;
  for_each_param(source.config(), [&](const ParamSpec& spec, int64_t layer) {
    const StoredTensor tensor = source.tensor(spec, layer);
    const DType dtype = gguf_dtype(spec, tensor, types);
    Row& row = rows[class_of(spec)];
    ++row.types[name_of(dtype)];
    row.before += tensor.data.size();
    row.after += bytes_of(dtype, tensor.shape.numel());
    const bool matrix = spec.vocab_rows || spec.transposed;
    row.fell_back = row.fell_back || (matrix && dtype != (spec.vocab_rows ? types.embedding : types.matrices));
  });
  return rows;
}

std::string report(const std::array<Row, kClasses.size()>& rows) {
  std::string text;
  size_t before = 0, after = 0;
  const auto line = [&](std::string_view what, std::string_view types, size_t from, size_t to) {
    text += fmt::format("{:<20} {:<10} {:>10} -> {:>10}\n", what, types, human_bytes(from), human_bytes(to));
  };
  bool fell_back = false;
  for (size_t i = 0; i < rows.size(); ++i) {
    std::string types;
    for (const auto& [name, count] : rows[i].types) types += (types.empty() ? "" : "+") + std::string(name);
    if (!rows[i].types.empty()) line(kClasses[i], types, rows[i].before, rows[i].after);
    before += rows[i].before;
    after += rows[i].after;
    fell_back = fell_back || rows[i].fell_back;
  }
  line("total", "", before, after);
  if (fell_back) text += "rows that are no multiple of 32 elements became f16\n";
  return text;
}

}  // namespace

std::string quantize_model(const fs::path& in, const fs::path& out, const QuantizeOptions& options) {
  const DType embedding = options.embedding.value_or(options.type == DType::q4_0 ? DType::q8_0 : options.type);
  const bool gguf = out.extension() == ".gguf";
  if (!gguf && (block_of(options.type) > 1 || embedding != options.type)) {
    throw UsageError(fmt::format("{}: only a GGUF file holds {} with an embedding of {}; name it NAME.gguf",
                                 out.string(), name_of(options.type), name_of(embedding)));
  }
  const std::unique_ptr<ModelSource> source = open_input(in, out);
  if (!gguf) {
    return fmt::format("read {}; wrote {}: {}\n", source->description(), out.string(),
                       write_model(*source, out, options.type));
  }
  const GgufTypes types = {options.type, embedding};
  const std::string what = to_gguf(*source, out, types);
  return fmt::format("read {}; wrote {}: {}\n{}", source->description(), out.string(), what,
                     report(classify(*source, types)));
}

}  // namespace ink
