// The subcommands of ink: each file of cli/ adds one and turns its options into library calls.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ink {

void add_train_command(CLI::App& app);
void add_sample_command(CLI::App& app);
void add_serve_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_get_command(CLI::App& app);
void add_data_command(CLI::App& app);
void add_tokenizer_command(CLI::App& app);
void add_convert_command(CLI::App& app);
void add_quantize_command(CLI::App& app);
void add_export_command(CLI::App& app);
void add_plot_command(CLI::App& app);
void add_info_command(CLI::App& app);
void add_bench_command(CLI::App& app);

// Rewrites the arguments of `ink train` (program name and subcommand not included) to long options: llm.c's short
// flags, and the options of --config FILE and of a resumed run's run.toml, which those on the command line override.
// Throws UsageError for a malformed flag or file.
std::vector<std::string> expand_train_arguments(const CLI::App& train, const std::vector<std::string>& arguments);

}  // namespace ink
