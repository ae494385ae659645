// Runs the built program as a user does, and keeps what it says.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <initializer_list>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "ink/base/file.h"
#include "tests/temp_dir.h"

namespace ink {

struct Output {
  int status = 0;  // 128 + N for a process that signal N ended
  std::string out, err;
  size_t peak_memory = 0;  // bytes, of the process
};

// The program as a child process with a folder of its own: its working directory, and where its output goes.
class Program {
 public:
  explicit Program(fs::path folder) : folder_(std::move(folder)) {}
  ~Program() {
    if (child_ > 0) end(SIGKILL);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  std::string input;         // on standard input
  rlim_t file_limit = 0;     // bytes that a file can hold, as if the disk were full then; 0: no limit
  std::string standard_out;  // a file to write to instead

  void start(const std::vector<std::string>& arguments) {
    write_file(folder_ / ".in", input);
    std::vector<char*> argv = {const_cast<char*>(INK_PROGRAM)};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const std::string out = standard_out.empty() ? (folder_ / ".out").string() : standard_out;
    const std::string in = folder_ / ".in", err = folder_ / ".err";
    child_ = fork();
    ASSERT_GE(child_, 0);
    if (child_ > 0) return;
    redirect(in, O_RDONLY, STDIN_FILENO);
    redirect(out, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
    redirect(err, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    if (file_limit > 0) {
      std::signal(SIGXFSZ, SIG_IGN);  // a write fails instead
      const rlimit limit = {file_limit, file_limit};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (chdir(folder_.c_str()) == 0) execv(INK_PROGRAM, argv.data());
    _exit(127);
  }

  bool running() {
    if (child_ > 0 && waitpid(child_, &status_, WNOHANG) == child_) child_ = 0;
    return child_ > 0;
  }

  void send(int signal) const { ::kill(child_, signal); }
  void end(int signal) {
    send(signal);
    wait();
  }

  Output wait() {
    rusage usage = {};
    if (child_ > 0) wait4(child_, &status_, 0, &usage);
    child_ = 0;
    const int status = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
#ifdef __APPLE__
    constexpr size_t kUnit = 1;
#else
    constexpr size_t kUnit = 1024;
#endif
    return {status, standard_out.empty() ? read_file(folder_ / ".out") : "", read_file(folder_ / ".err"),
            static_cast<size_t>(usage.ru_maxrss) * kUnit};
  }

 private:
  static void redirect(const std::string& path, int flags, int to) {
    const int fd = ::open(path.c_str(), flags, 0666);
    if (fd < 0 || dup2(fd, to) < 0) _exit(126);
  }

  fs::path folder_;
  pid_t child_ = 0;
  int status_ = 0;
};

// A folder to work in, and what every error must look like.
class Cli : public testing::Test {
 protected:
  TempDir dir_;

  Output ink(const std::vector<std::string>& arguments, const std::string& input = "") {
    Program program(dir_.path());
    program.input = input;
    program.start(arguments);
    return program.wait();
  }

  // Runs and expects success without a word on standard error.
  std::string ok(const std::vector<std::string>& arguments, const std::string& input = "") {
    const Output output = ink(arguments, input);
    EXPECT_EQ(output.status, 0) << joined(arguments) << "\n" << output.err;
    EXPECT_EQ(output.err, "") << joined(arguments);
    return output.out;
  }

  // Runs and expects an error of one line that holds all the texts: status 1 for bad input, 2 for bad usage.
  void fails(int status, const std::vector<std::string>& arguments, std::initializer_list<std::string_view> texts,
             const std::string& input = "") {
    const Output output = ink(arguments, input);
    SCOPED_TRACE(joined(arguments));
    EXPECT_EQ(output.status, status) << output.err;
    expect_one_line_error(output.err);
    for (const std::string_view text : texts) {
      EXPECT_NE(output.err.find(text), std::string::npos) << "'" << text << "' is not in: " << output.err;
    }
  }

  static void expect_one_line_error(const std::string& err) {
    EXPECT_TRUE(err.starts_with("ink: ")) << err;
    EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 1) << err;
    EXPECT_TRUE(err.ends_with('\n')) << err;
  }

  static std::string joined(const std::vector<std::string>& arguments) {
    std::string text = "ink";
    for (const std::string& argument : arguments) text += " " + argument;
    return text;
  }

  // Waits until the file holds the text; fails after half a minute.
  static void wait_for(const fs::path& file, std::string_view text) {
    for (int i = 0; i < 15000; ++i) {
      if (fs::exists(file) && read_file(file).find(text) != std::string::npos) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    FAIL() << file << " never held '" << text << "'";
  }
};

inline std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace ink
