// What the tests with other programs' readers compare against: the logits of the plain loops.
//   print_logits MODEL < IDS > LOGITS
// Every line of IDS is a sequence of token ids; LOGITS are float32, (tokens, vocab) a line, one line after another.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/parallel.h"
#include "ink/format/model_io.h"
#include "ink/ops/device.h"

namespace ink {
namespace {

void print_logits(const fs::path& path) {
  ThreadPool pool(1);
  const auto ops = make_ops("ref", pool);
  Gpt2 model(read_model_config(path), {}, *ops);
  model.allocate();
  load_weights(path, model);
  std::istringstream lines(read_stdin());
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::vector<int32_t> ids;
    for (int32_t id = 0; words >> id;) ids.push_back(id);
    check(words.eof() && !ids.empty(), "standard input: '{}' is not a line of token ids", line);
    std::vector<int64_t> rows(ids.size());
    std::iota(rows.begin(), rows.end(), 0);
    std::vector<float> logits(ids.size() * static_cast<size_t>(model.config().vocab));
    model.logits(ids, 1, static_cast<int64_t>(ids.size()), rows, logits);
    check(std::fwrite(logits.data(), sizeof(float), logits.size(), stdout) == logits.size(),
          "standard output: cannot write");
  }
}

}  // namespace
}  // namespace ink

int main(int argc, char** argv) {
  try {
    ink::check(argc == 2, "usage: print_logits MODEL < IDS > LOGITS");
    ink::print_logits(argv[1]);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "print_logits: {}\n", error.what());
    return 1;
  }
}
