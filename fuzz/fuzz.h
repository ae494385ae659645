// What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput: it writes the input to where the
// parser reads it from, and does with it all that a user could. A bad file must cost an Error; everything else that
// happens is a finding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <string>
#include <string_view>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "tests/temp_dir.h"

namespace ink::fuzz {

// The folder of the input's files, the same for all inputs. TMPDIR says where: a folder in memory is quickest.
inline const fs::path& folder() {
  static const TempDir folder;
  return folder.path();
}

// Writes a file into the folder. Not AtomicFile: its syncs take longer than the parsers.
inline fs::path put(const fs::path& name, std::string_view bytes) {
  fs::path path = folder() / name;
  OutputFile(path, OutputFile::Mode::create).write(bytes);
  return path;
}

// What must hold whatever the input is. Aborting keeps the input, as a crash does.
inline void expect(bool ok, std::string_view what) {
  if (ok) return;
  std::fprintf(stderr, "broken promise: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

// Calls action, which may throw Error; true if it threw none. INK_FUZZ_SHOW=1 prints the errors, one by one.
template <class Action>
bool accepts(const Action& action) {
  try {
    action();
    return true;
  } catch (const Error& error) {
    const std::string_view what = error.what();
    expect(!what.empty(), "an error says something");
    static const bool show = std::getenv("INK_FUZZ_SHOW") != nullptr;
    if (show) std::fprintf(stderr, "Error: %s\n", error.what());
    return false;
  } catch (const std::exception& error) {
    expect(false, error.what());
    return false;
  }
}

// Takes the input's next part, which ends with a NUL byte or with the input. Parsers of several files get them so.
inline std::string_view take_part(std::string_view& input) {
  const std::string_view part = input.substr(0, input.find('\0'));
  input.remove_prefix(part.size() < input.size() ? part.size() + 1 : part.size());
  return part;
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace ink::fuzz

// libFuzzer calls it by this name; it declares it nowhere.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
