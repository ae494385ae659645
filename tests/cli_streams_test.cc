// The program with standard streams that are closed or full.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "tests/cli_process.h"

namespace ink {
namespace {

class CliStreams : public Cli {
 protected:
  // The exit status of the program run by a shell, with redirections behind its arguments; -1 if it crashed.
  int shell(const std::string& arguments) {
    const std::string line = "cd '" + dir_.path().string() + "' && exec '" INK_PROGRAM "' " + arguments;
    const int status = std::system(line.c_str());
    return WIFEXITED(status) && WEXITSTATUS(status) < 128 ? WEXITSTATUS(status) : -1;
  }
};

TEST_F(CliStreams, AnErrorWithoutAPlaceToSayItIsStillAnError) {
  EXPECT_EQ(shell("info nothing 2>&-"), 1);
  EXPECT_EQ(shell("info nothing <&- >&- 2>&-"), 1);
  EXPECT_EQ(shell("no-such-command 2>&-"), 2);
  if (fs::exists("/dev/full")) {
    EXPECT_EQ(shell("info nothing 2>/dev/full"), 1);
  }
}

TEST_F(CliStreams, WhatIsPrintedNeverGoesIntoAFileThatIsWritten) {
  ok({"tokenizer", "save", "--tokenizer", "byte", "open.bin"});
  for (const std::string closed : {">&-", ">&- 2>&-", "<&- >&- 2>&-"}) {
    EXPECT_EQ(shell("tokenizer save --tokenizer byte closed.bin " + closed), 1) << closed;  // it cannot say what it did
    EXPECT_EQ(read_file(dir_ / "closed.bin"), read_file(dir_ / "open.bin")) << closed;
    fs::remove(dir_ / "closed.bin");
  }
}

TEST_F(CliStreams, AClosedStandardInputIsNoFile) {
  write_file(dir_ / "text.txt", "ab");
  EXPECT_EQ(shell("tokenizer encode --tokenizer byte text.txt <&- >out.txt"), 0);
  EXPECT_EQ(read_file(dir_ / "out.txt"), "97 98\n");
  EXPECT_EQ(shell("tokenizer encode --tokenizer byte <&- 2>err.txt"), 1);
  EXPECT_NE(read_file(dir_ / "err.txt").find("standard input"), std::string::npos);
}

}  // namespace
}  // namespace ink
