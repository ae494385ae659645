// A file, mostly text, read through a sliding window.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace ink {

// The last place at or below limit that is not inside a UTF-8 character; limit itself if there is none near it.
size_t character_cut(std::string_view text, size_t limit);

class TextWindow {
 public:
  explicit TextWindow(const std::filesystem::path& path);

  int64_t bytes() const { return bytes_; }        // of the whole file
  int64_t position() const { return position_; }  // where the window starts

  // What lies ahead: at least `wanted` bytes, or all that is left. Valid until the next call. Throws Error if the file
  // cannot be read or turns out shorter than it was.
  std::string_view ahead(size_t wanted);
  void consume(size_t bytes);  // moves the window's start; at most what ahead() gave

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
  int64_t bytes_ = 0;
  int64_t position_ = 0;
  std::string buffer_;
};

}  // namespace ink
