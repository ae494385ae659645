// ink sample as a program: its options beyond the plain ones, and the prompt loop on a terminal.
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ink/format/model_io.h"
#include "ink/text/tokenizer.h"
#include "tests/cli_process.h"
#include "tests/model_helpers.h"

namespace ink {
namespace {

using Words = std::vector<std::string>;
using nlohmann::json;

class CliSample : public Cli {
 protected:
  void SetUp() override {
    ThreadPool pool(1);
    const std::unique_ptr<Ops> ops = make_ops("cpu", pool);
    const Gpt2Config config = {.context = 40, .vocab = 256, .layers = 1, .heads = 2, .channels = 16};
    const fs::path folder = dir_ / "model";
    make_directories(folder);
    save_huggingface(folder, *make_model(*ops, {}, config));
    make_byte_tokenizer()->save(folder);
  }

  const Words sample_ = {"sample", "--model", "model", "--prompt", "ab"};
};

TEST_F(CliSample, JsonHoldsTextTokensAndLogprobs) {
  const Words words = sample_ + Words{"--max-tokens", "5", "--temperature", "0", "--json", "--logprobs", "2"};
  const json line = json::parse(ok(words));
  EXPECT_EQ(line["prompt"], "ab");
  EXPECT_EQ(line["finish_reason"], "length");
  EXPECT_EQ(line["seed"], 42);
  ASSERT_EQ(line["tokens"].size(), 5u);
  for (const json& token : line["tokens"]) {
    ASSERT_EQ(token["top_logprobs"].size(), 2u);
    EXPECT_EQ(token["top_logprobs"][0]["id"], token["id"]);  // greedy
    EXPECT_EQ(token["top_logprobs"][0]["logprob"], token["logprob"]);
    EXPECT_LT(token["logprob"].get<double>(), 0);
    EXPECT_LE(token["top_logprobs"][1]["logprob"].get<double>(), token["logprob"].get<double>());
  }
  const std::string two = ok(sample_ + Words{"--max-tokens", "3", "--json", "--samples", "2"});
  EXPECT_EQ(std::count(two.begin(), two.end(), '\n'), 2);
  EXPECT_FALSE(json::parse(two.substr(0, two.find('\n')))["tokens"][0].contains("logprob"));
  fails(2, sample_ + Words{"--logprobs", "2"}, {"--json"});
}

TEST_F(CliSample, TheEmulatedGpuGivesTheSameText) {
  const Words words = sample_ + Words{"--max-tokens", "8", "--temperature", "0"};
  const auto emulated = ink(words + Words{"--device", "emu"});  // not ok(): a sanitizer warns of fibers
  EXPECT_EQ(emulated.status, 0) << emulated.err;
  EXPECT_EQ(emulated.out, ok(words));
}

TEST_F(CliSample, StopsBeforeAStopString) {
  const Words words = sample_ + Words{"--max-tokens", "30", "--logit-bias", "120=100", "--temperature", "0"};
  EXPECT_EQ(ok(words), "ab" + std::string(30, 'x') + "\n");
  EXPECT_EQ(ok(words + Words{"--stop", "y", "--stop", "xxxx"}), "ab\n");
  const json line = json::parse(ok(words + Words{"--stop", "xxxx", "--json"}));
  EXPECT_EQ(line["finish_reason"], "stop");
  EXPECT_EQ(line["text"], "");
  EXPECT_EQ(line["tokens"].size(), 4u);
  const Words three = sample_ + Words{"--max-tokens", "3", "--logit-bias", "120=100"};
  EXPECT_EQ(ok(three + Words{"--stop", "xxxx"}), "abxxx\n");  // held back, then shown
}

TEST_F(CliSample, BiasTakesIdsAndTexts) {
  const Words words = sample_ + Words{"--max-tokens", "4"};
  EXPECT_EQ(ok(words + Words{"--logit-bias", "q=1000"}), "abqqqq\n");
  EXPECT_EQ(ok(words + Words{"--logit-bias", "q=1000", "--logit-bias", "==2000"}), "ab====\n");
  EXPECT_EQ(ok(words + Words{"--logit-bias", "65=1e3", "--logit-bias", "66=1e4", "--logit-bias", "66=-inf"}),
            "abAAAA\n");
  fails(2, words + Words{"--logit-bias", "q"}, {"--logit-bias q", "TOKEN=NUMBER"});
  fails(2, words + Words{"--logit-bias", "q=1x"}, {"q=1x"});
  fails(2, words + Words{"--logit-bias", "=1"}, {"=1"});
  fails(2, words + Words{"--logit-bias", "qq=1"}, {"'qq' is 2 tokens"});
  fails(2, words + Words{"--logit-bias", "256=1"}, {"256", "0 to 255"});
  fails(2, words + Words{"--logit-bias", "1=nan"}, {"--logit-bias"});
  EXPECT_EQ(ink(words + Words{"--logit-bias", "256=1"}).out, "") << "nothing is printed before the error";
  fails(2, words + Words{"--seed", "18446744073709551616"}, {"--seed", "18446744073709551616 is too large"});
  fails(2, words + Words{"--top-k", "9223372036854775808"}, {"--top-k", "too large"});
}

TEST_F(CliSample, EverySamplerOptionIsHeard) {
  const Words words = sample_ + Words{"--max-tokens", "30"};
  const std::string greedy = ok(words + Words{"--temperature", "0"});
  EXPECT_EQ(ok(words + Words{"--min-p", "1"}), greedy);
  EXPECT_NE(ok(words + Words{"--temperature", "0", "--repetition-penalty", "1000"}), greedy);
  for (const char* penalty : {"--presence-penalty", "--frequency-penalty"}) {
    EXPECT_NE(ok(words + Words{"--temperature", "0", penalty, "1000"}), greedy);
    const Words bias = {"--max-tokens", "2", "--temperature", "0", "--logit-bias", "97=100"};
    EXPECT_EQ(ok(sample_ + bias).substr(0, 4), "abaa");
    const std::string once = ok(sample_ + bias + Words{penalty, "1000"});
    EXPECT_EQ(once.substr(0, 3), "aba") << "the prompt does not count";
    EXPECT_NE(once.substr(0, 4), "abaa");
    fails(2, words + Words{penalty, "inf"}, {penalty});
  }
  EXPECT_NE(ok(words + Words{"--temperature", "0", "--context", "3"}), greedy);
  fails(2, words + Words{"--min-p", "2"}, {"--min-p"});
  fails(2, words + Words{"--repetition-penalty", "0"}, {"--repetition-penalty"});
  fails(1, words + Words{"--context", "41"}, {"context 41", "40"});
}

// A program whose terminal is the test.
class Terminal {
 public:
  Terminal(const fs::path& folder, const Words& arguments) {
    master_ = ::posix_openpt(O_RDWR | O_NOCTTY);
    EXPECT_TRUE(master_ >= 0 && ::grantpt(master_) == 0 && ::unlockpt(master_) == 0);
    const std::string slave = ::ptsname(master_);
    std::vector<char*> argv = {const_cast<char*>(INK_PROGRAM)};
    for (const std::string& word : arguments) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    child_ = ::fork();
    if (child_ != 0) return;
    ::setsid();
    const int fd = ::open(slave.c_str(), O_RDWR);
    ::ioctl(fd, TIOCSCTTY, 0);
    for (const int to : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(fd, to);
    ::setenv("TERM", "dumb", 1);
    if (::chdir(folder.c_str()) == 0) ::execv(INK_PROGRAM, argv.data());
    ::_exit(127);
  }
  ~Terminal() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    ::close(master_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(std::string_view keys) const {
    ASSERT_EQ(::write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  // Everything shown so far, as soon as it holds the text after what was waited for before.
  void wait_for(std::string_view text) {
    for (int i = 0; i < 15000; ++i) {
      if (const size_t at = shown_.find(text, seen_); at != std::string::npos) {
        seen_ = at + text.size();
        return;
      }
      if (!read_more()) break;
    }
    FAIL() << "never shown: '" << text << "', but:\n" << shown_;
  }

  // The prompt, and the line editor behind it: it sets the terminal to raw mode after showing the prompt, and what is
  // typed between the two can be lost. A build without a line editor never does: then it is the prompt alone.
  void wait_for_prompt() {
    wait_for("> ");
    termios state{};
    for (int i = 0; i < 200; ++i) {
      if (::tcgetattr(master_, &state) == 0 && (state.c_lflag & ICANON) == 0) return;
      ::usleep(5000);
    }
  }

  // The exit status, or 128 + the signal's number.
  int status() {
    while (read_more()) {
    }
    int status = 0;
    ::waitpid(child_, &status, 0);
    child_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  const std::string& shown() const { return shown_; }

 private:
  bool read_more() {
    char bytes[4096];
    pollfd waiting = {.fd = master_, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, 60000) == 0) ::kill(child_, SIGKILL);  // it hangs
    const ssize_t n = ::read(master_, bytes, sizeof bytes);
    if (n > 0) shown_.append(bytes, static_cast<size_t>(n));
    return n > 0;
  }

  int master_ = -1;
  pid_t child_ = 0;
  std::string shown_;
  size_t seen_ = 0;
};

TEST_F(CliSample, ATerminalGetsAPromptLoop) {
  Terminal terminal(dir_.path(), {"sample", "--model", "model", "--max-tokens", "4", "--logit-bias", "x=100"});
  terminal.wait_for_prompt();
  terminal.type("ab\n");
  terminal.wait_for("abxxxx");
  terminal.wait_for_prompt();
  terminal.type("\n");  // goes on
  terminal.wait_for("xxxx");
  terminal.wait_for_prompt();
  terminal.type("\x04");
  EXPECT_EQ(terminal.status(), 0) << terminal.shown();
}

TEST_F(CliSample, CtrlCEndsATextThenTheProgram) {
  Terminal terminal(dir_.path(), {"sample", "--model", "model", "--max-tokens", "1000000000", "--logit-bias", "x=100"});
  terminal.wait_for_prompt();
  terminal.type("ab\n");
  terminal.wait_for("xxxxxxxx");
  terminal.type("\x03");
  terminal.wait_for_prompt();
  terminal.type("\x03");
  EXPECT_EQ(terminal.status(), 128 + SIGINT) << terminal.shown().substr(0, 1000);
}

TEST_F(CliSample, APromptOnATerminalIsNoLoop) {
  Terminal terminal(dir_.path(), sample_ + Words{"--max-tokens", "2", "--logit-bias", "x=100"});
  EXPECT_EQ(terminal.status(), 0);
  EXPECT_EQ(terminal.shown(), "abxx\r\n");
}

}  // namespace
}  // namespace ink
