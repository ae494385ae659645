// ink: train, run and convert GPT-class language models.
#include <fcntl.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"
#include "ink/base/check.h"
#include "ink/base/suggest.h"

namespace {

constexpr int kBadInput = 1;
constexpr int kBadUsage = 2;

// One line, whatever characters a file's name or content has put into the message.
void print_error(std::string message) {
  std::replace_if(
      message.begin(), message.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  std::fputs(fmt::format("ink: {}\n", message).c_str(), stderr);  // unlike fmt::print it throws nothing
}

// A standard stream that is closed would be the next file that is opened, and what is printed would go into that.
// Opened the wrong way round, using it still fails.
void occupy_standard_streams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    if (::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) std::_Exit(kBadInput);
  }
}

// The subcommand that parsing reached: the app itself if none.
const CLI::App& deepest(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : deepest(*chosen.front());
}

// "--leers: no such option of ink train, did you mean --layers?"
std::string describe_extra(const CLI::App& app, const std::string& extra) {
  const CLI::App& command = deepest(app);
  const bool option = extra.starts_with('-');
  std::vector<std::string> names;
  if (option) {
    for (const CLI::Option* o : command.get_options()) {
      for (const std::string& name : o->get_lnames()) names.push_back("--" + name);
    }
  } else {
    for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
      names.push_back(sub->get_name());
    }
  }
  const std::string word = extra.substr(0, extra.find('='));
  const std::vector<std::string_view> candidates(names.begin(), names.end());
  const std::string near = ink::nearest(word, candidates);
  const std::string hint = near.empty() ? "see --help" : fmt::format("did you mean {}?", near);
  const std::string of = command.get_parent() == nullptr ? "ink" : "ink " + command.get_name();
  return fmt::format("{}: no such {} of {}; {}", word, option ? "option" : "command or argument", of, hint);
}

int run(int argc, char** argv) {
  CLI::App app{"Train, fine-tune, run and convert GPT-class language models."};
  app.name("ink");
  app.set_version_flag("--version", "ink " INK_VERSION);
  app.require_subcommand(1);
  ink::add_train_command(app);
  ink::add_sample_command(app);
  ink::add_serve_command(app);
  ink::add_eval_command(app);
  ink::add_get_command(app);
  ink::add_data_command(app);
  ink::add_tokenizer_command(app);
  ink::add_convert_command(app);
  ink::add_quantize_command(app);
  ink::add_export_command(app);
  ink::add_plot_command(app);
  ink::add_info_command(app);
  ink::add_bench_command(app);

  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && arguments.front() == "train") {
    const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
    arguments.resize(1);
    for (std::string& word : ink::expand_train_arguments(*app.get_subcommand("train"), rest)) {
      arguments.push_back(std::move(word));
    }
  }
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    // A word that is not known may be why another is missing: it comes first.
    const std::vector<std::string> extras = app.remaining(true);
    print_error(extras.empty() ? fmt::format("{}; see --help", error.what()) : describe_extra(app, extras.front()));
    return kBadUsage;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a write beyond the file size limit fails with a message instead
  try {
    const int status = run(argc, argv);
    ink::check(std::fflush(stdout) == 0 && std::ferror(stdout) == 0, "standard output: cannot write");
    return status;
  } catch (const ink::UsageError& error) {
    print_error(error.what());
    return kBadUsage;
  } catch (const std::bad_alloc&) {
    print_error("out of memory");
    return kBadInput;
  } catch (const std::exception& error) {
    print_error(error.what());
    return kBadInput;
  }
}
