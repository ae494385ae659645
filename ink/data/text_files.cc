// Finding text, reading it through a window, and the tokenizer that fits it.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/data/prepare.h"
#include "ink/data/text_window.h"

namespace ink {

namespace {

constexpr size_t kSniffBytes = 8192;

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

bool looks_like_text(const fs::path& path) {
  TextWindow window(path);
  const std::string_view start = window.ahead(kSniffBytes).substr(0, kSniffBytes);
  return !start.empty() && start.find('\0') == std::string_view::npos;
}

std::vector<fs::path> text_files_in(const fs::path& folder, const fs::path& exclude) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    std::error_code gone;  // a link to nothing, or an entry that has just been removed, is no text
    if (entry->is_directory(gone)) {
      const bool excluded = !exclude.empty() && fs::equivalent(entry->path(), exclude, gone);
      if (excluded || is_hidden(entry->path())) entry.disable_recursion_pending();
    } else if (entry->is_regular_file(gone) && !is_hidden(entry->path()) && looks_like_text(entry->path())) {
      files.push_back(entry->path());
    }
  }
  check(!error, "{}: cannot be searched for text: {}", folder.string(), error.message());
  check(!files.empty(), "{}: no text files in this folder", folder.string());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::vector<fs::path> text_files(const std::vector<fs::path>& paths, const fs::path& exclude) {
  check(!paths.empty(), "no text: name a file or folder");
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    std::error_code ignored;
    check(fs::exists(path, ignored), "{}: no such file or folder", path.string());
    if (fs::is_directory(path, ignored)) {
      check(exclude.empty() || !fs::equivalent(path, exclude, ignored),
            "{}: is also the output folder, whose files would be read as text the next time; choose another",
            path.string());
      const std::vector<fs::path> found = text_files_in(path, exclude);
      files.insert(files.end(), found.begin(), found.end());
    } else {
      check(TextWindow(path).bytes() > 0, "{}: empty file, expected text", path.string());
      files.push_back(path);
    }
  }
  return files;
}

size_t character_cut(std::string_view text, size_t limit) {
  if (limit >= text.size()) return text.size();
  size_t cut = limit;
  while (cut > 0 && limit - cut < 3 && (static_cast<unsigned char>(text[cut]) & 0xc0u) == 0x80u) --cut;
  const bool inside = (static_cast<unsigned char>(text[cut]) & 0xc0u) == 0x80u;
  return cut == 0 || inside ? limit : cut;
}

TextWindow::TextWindow(const fs::path& path) : path_(path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  check(!error && fs::exists(status), "{}: no such file", path.string());
  check(fs::is_regular_file(status), "{}: not a regular file; save the text in one first", path.string());
  const uintmax_t bytes = fs::file_size(path, error);
  check(!error, "{}: cannot read: {}", path.string(), error.message());
  bytes_ = static_cast<int64_t>(bytes);
  file_.reset(std::fopen(path.c_str(), "rb"));
  check(file_ != nullptr, "{}: cannot open: {}", path.string(), std::strerror(errno));
  std::setvbuf(file_.get(), nullptr, _IONBF, 0);  // buffer_ is the buffer
}

std::string_view TextWindow::ahead(size_t wanted) {
  const size_t target = static_cast<size_t>(std::min(static_cast<int64_t>(wanted), bytes_ - position_));
  if (buffer_.size() < target) {
    const size_t held = buffer_.size();
    buffer_.resize(target);
    const size_t got = std::fread(buffer_.data() + held, 1, target - held, file_.get());
    check(std::ferror(file_.get()) == 0, "{}: cannot read: {}", path_.string(), std::strerror(errno));
    check(got == target - held, "{}: became shorter while it was read", path_.string());
  }
  return buffer_;
}

void TextWindow::consume(size_t bytes) {
  buffer_.erase(0, bytes);
  position_ += static_cast<int64_t>(bytes);
}

std::shared_ptr<const Tokenizer> tokenizer_for(std::string_view name, const std::vector<fs::path>& files) {
  const auto rows = tokenizers();
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const TokenizerInfo& info) { return info.name == name; });
  if (row == rows.end() || !row->needs_text) return open_tokenizer(std::string(name));
  // The characters of every piece, then those of all pieces. In sorted order no two neighbours can join into another
  // character: only bytes that continue none follow a byte that starts one.
  std::set<std::string, std::less<>> characters;
  for (const fs::path& path : files) {
    TextWindow window(path);
    while (window.position() < window.bytes()) {
      const std::string_view text = window.ahead(kPrepareWindow);
      const size_t piece = window.position() + static_cast<int64_t>(text.size()) == window.bytes()
                               ? text.size()
                               : character_cut(text, text.size() - 4);
      const auto seen = make_tokenizer(name, text.substr(0, piece));
      for (int32_t id = 0; id < seen->vocab_size(); ++id) characters.emplace(seen->token(id));
      window.consume(piece);
    }
  }
  std::string alphabet;
  for (const std::string& character : characters) alphabet += character;
  return make_tokenizer(name, alphabet);
}

}  // namespace ink
