// ink export: a model for programs that run models but do not train them.
#include <fmt/format.h>

#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "ink/base/check.h"
#include "ink/format/model_io.h"
#include "ink/format/onnx.h"
#include "ink/infer/model.h"
#include "ink/train/checkpoint.h"

namespace ink {

namespace {

struct ExportCommand {
  std::string in, out, dtype = "f32";
  bool onnx = false;
  OnnxOptions options;
};

void run_export(ExportCommand& e) {
  if (e.out.empty()) throw UsageError("out is empty; name a file or a folder");
  const bool is_file = std::filesystem::path(e.out).extension() == ".onnx";
  if (!e.onnx && !is_file) {
    throw UsageError(
        fmt::format("{}: in which format? --onnx writes a folder, a name that ends in .onnx a file", e.out));
  }
  e.options.dtype = e.dtype == "f16" ? DType::f16 : DType::f32;
  const auto model = open_model(resolve_model_path(e.in));
  const std::string what = is_file ? save_onnx(e.out, *model, e.options)
                                   : save_onnx_folder(e.out, *model, find_tokenizer(*model).get(), e.options);
  fmt::print("{}\n", what);
}

}  // namespace

void add_export_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("export", "Write a model for other programs to run, as ONNX");
  const auto e = std::make_shared<ExportCommand>();
  command.add_option("model", e->in, "A run folder, a model folder or a model file")->required();
  command.add_option("out", e->out, "NAME.onnx for the model alone; else a folder, with config.json and tokenizer")
      ->required();
  command.add_flag("--onnx", e->onnx, "The format, where the name does not tell");
  command.add_flag("--kv-cache", e->options.kv_cache,
                   "The model takes the keys and values of earlier tokens, and gives back those of all");
  command
      .add_option("--dtype", e->dtype, "Of matrices and their products: f32 or f16; norms, softmax, logits stay f32")
      ->check(CLI::IsMember({"f32", "f16"}))
      ->capture_default_str();
  command.add_flag("--external-data", e->options.external_data,
                   "The weights in OUT.onnx.data; those over 2 GB are either way");
  command.callback([e] { run_export(*e); });
}

}  // namespace ink
