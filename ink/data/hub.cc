#include "ink/data/hub.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/sha256.h"
#include "ink/data/download.h"
#include "ink/format/json.h"
#include "ink/format/model_io.h"

namespace ink {

namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kShortNames = {
    {{"gpt2", "openai-community/gpt2"},
     {"gpt2-medium", "openai-community/gpt2-medium"},
     {"gpt2-large", "openai-community/gpt2-large"},
     {"gpt2-xl", "openai-community/gpt2-xl"}}};

bool is_word(std::string_view word, bool slashes = false) {
  if (word.empty() || word.size() > 200 || word.front() == '.' || word.find("..") != std::string_view::npos)
    return false;
  return std::all_of(word.begin(), word.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || (slashes && c == '/');
  });
}

bool is_address(const std::string& place) { return place.find("://") != std::string::npos; }

// Where the files of one model are: a folder, or an address that their names are appended to.
struct Source {
  std::string prefix;  // ends with a slash
  std::string token;
  bool is_folder = false;
};

// One run: files go from a source into a folder.
class Fetch {
 public:
  Fetch(Source source, fs::path part, const HubOptions& options)
      : source_(std::move(source)), part_(std::move(part)), options_(options) {}

  const std::string& commit() const { return commit_; }
  const Source& source() const { return source_; }
  // Every file after the first comes from the commit that the first came from, also when the branch moves on.
  void pin(const std::string& prefix) { source_.prefix = prefix; }

  // False if the source has no such file.
  bool get(const std::string& file) { return source_.is_folder ? copy(file) : download_file(file); }

  // Throws an Error with the hint if the source has no such file.
  void require(const std::string& file, std::string_view hint) {
    check(get(file), "{}{}: no such file; {}", source_.prefix, file, hint);
  }

 private:
  bool copy(const std::string& file) {
    const fs::path from = source_.prefix + file;
    std::error_code missing;
    if (!fs::is_regular_file(from, missing)) return false;
    const MappedFile content(from);
    if (options_.progress) options_.progress(file, 0, static_cast<int64_t>(content.bytes().size()));
    write_file(part_ / file, content.text());
    if (options_.progress) {
      options_.progress(file, static_cast<int64_t>(content.bytes().size()),
                        static_cast<int64_t>(content.bytes().size()));
    }
    return true;
  }

  bool download_file(const std::string& file) {
    const std::string url = source_.prefix + file;
    const RemoteFile remote = look_up(url, source_.token);
    if (!remote.found) return false;
    if (commit_.empty()) commit_ = remote.commit;
    const fs::path whole = part_ / file, part = part_ / (file + ".part");
    // What cannot be recognised is fetched again.
    if (!remote.sha256.empty() && is_right(whole, remote)) return true;
    if (remote.sha256.empty()) remove_tree(part);
    const auto progress = [&](int64_t done, int64_t total) {
      if (options_.progress && remote.bytes >= 0) options_.progress(file, done, total);
    };
    std::error_code missing;
    const bool resumed = fs::exists(part, missing);
    download(url, part, remote.bytes, progress, source_.token);
    if (!remote.sha256.empty() && !is_right(part, remote)) {
      const std::string sha256 = sha256_file(part);
      remove_tree(part);  // it would only be resumed
      check(resumed, "{}: SHA-256 {}, expected {}; run the command again", url, sha256, remote.sha256);
      return download_file(file);  // once more, from the beginning
    }
    std::error_code error;
    fs::rename(part, whole, error);
    check(!error, "{}: cannot rename to {}: {}", part.string(), whole.string(), error.message());
    return true;
  }

  static bool is_right(const fs::path& path, const RemoteFile& remote) {
    std::error_code missing;
    if (!fs::is_regular_file(path, missing)) return false;
    if (remote.bytes >= 0 && fs::file_size(path, missing) != static_cast<uintmax_t>(remote.bytes)) return false;
    return sha256_file(path) == remote.sha256;
  }

  Source source_;
  fs::path part_;
  const HubOptions& options_;
  std::string commit_;
};

// The weight files that an index names.
std::set<std::string> files_of_index(const fs::path& path) {
  const nlohmann::json index = parse_json_object(path, "the index", read_file(path));
  const auto map = index.find("weight_map");
  check(map != index.end() && map->is_object() && !map->empty(), "{}: no weight_map", path.string());
  std::set<std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    check(file.is_string() && is_word(file.get<std::string>()) && file.get<std::string>().ends_with(".safetensors"),
          "{}: {} is not the name of a weight file", path.string(), short_dump(file));
    files.insert(file.get<std::string>());
  }
  return files;
}

// Refuses other models before their weights are fetched.
void check_kind(const fs::path& config, std::string_view name) {
  const nlohmann::json json = parse_json_object(config, "the configuration", read_file(config));
  const auto type = json.find("model_type");
  const std::string found = type != json.end() && type->is_string() ? type->get<std::string>() : "not there";
  check(found == "gpt2", "{}: its model_type is {}, only gpt2 can be used", name, found);
}

void get_weights(Fetch& fetch, const fs::path& part) {
  constexpr const char* kWhole = "model.safetensors";
  constexpr const char* kIndex = "model.safetensors.index.json";
  if (fetch.get(kWhole)) return;
  fetch.require(kIndex, "there is no model.safetensors either: this model has no weights in that format");
  for (const std::string& file : files_of_index(part / kIndex)) {
    fetch.require(file, "model.safetensors.index.json names it: the model is not whole there");
  }
}

void get_tokenizer(Fetch& fetch) {
  fetch.get("tokenizer_config.json");
  if (fetch.get("tokenizer.json")) return;
  if (fetch.get("vocab.json")) fetch.require("merges.txt", "vocab.json is useless without it");
}

// Moves the checked files into the folder's final name.
std::vector<std::string> publish(const fs::path& part, const fs::path& out) {
  AtomicDirectory folder(out);
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(part)) {
    if (entry.path().extension() != ".part") files.push_back(entry.path().filename().string());
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) {
    std::error_code error;
    fs::rename(part / file, folder.temporary() / file, error);
    check(!error, "{}: cannot rename: {}", (part / file).string(), error.message());
  }
  folder.commit();
  remove_tree(part);
  return files;
}

// Fills the folder from one source. What was there for another kind of source or an earlier revision goes.
void gather(Fetch& fetch, std::string_view name, const fs::path& part, const HubOptions& options, bool pinned) {
  for (const char* file : {"config.json", "model.safetensors.index.json", "tokenizer.json", "vocab.json", "merges.txt",
                           "tokenizer_config.json", "generation_config.json"}) {
    remove_tree(part / file);  // small: fetched anew, so that all are of one revision
  }
  fetch.require("config.json", pinned ? "check the name and --revision" : "the mirror has no such model");
  check_kind(part / "config.json", name);
  if (pinned && !fetch.commit().empty()) {
    fetch.pin(fmt::format("{}/{}/resolve/{}/", options.address, name, fetch.commit()));
  }
  get_weights(fetch, part);
  get_tokenizer(fetch);
  fetch.get("generation_config.json");
  // Weight files of another revision, under other names, must not get into the folder.
  std::set<std::string> wanted = {"model.safetensors"};
  std::error_code missing;
  if (fs::exists(part / "model.safetensors.index.json", missing)) {
    wanted = files_of_index(part / "model.safetensors.index.json");
  }
  for (const auto& entry : fs::directory_iterator(part)) {
    const std::string file = entry.path().filename().string();
    if (file.ends_with(".safetensors") && !wanted.contains(file)) remove_tree(entry.path());
  }
  open_model(part);  // dimensions, names and sizes of everything
}

// What to do about an error, where that does not stand in it already.
std::string hint_for(const std::string& error, const std::string& address) {
  const auto holds = [&](std::string_view text) { return error.find(text) != std::string::npos; };
  if (holds("HTTP status 401") || holds("HTTP status 403")) {
    return "; there is no such model, or it wants a token: check the name, or set HF_TOKEN";
  }
  if (holds("No space left")) return "; make room and run the command again: it goes on from here";
  if (!error.starts_with(address) || holds("no such file")) return "";
  return "; run the command again to go on, or put the files into FOLDER/ORG/NAME and name that FOLDER in INK_MIRROR";
}

// A folder without weights, or a part of them, is not worth going on from.
void remove_unless_useful(const fs::path& part) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(part, ignored)) {
    if (entry.path().filename().string().find(".safetensors") != std::string::npos &&
        entry.path().extension() != ".json") {
      return;
    }
  }
  fs::remove_all(part, ignored);
}

}  // namespace

std::string hub_name(std::string_view name) {
  for (const auto& [short_name, full] : kShortNames) {
    if (name == short_name) return std::string(full);
  }
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos || !is_word(name.substr(0, slash)) || !is_word(name.substr(slash + 1))) {
    throw UsageError(
        fmt::format("'{}': not a model's name; known are gpt2, gpt2-medium, gpt2-large, gpt2-xl and ORG/NAME", name));
  }
  return std::string(name);
}

HubResult get_model(std::string_view name, const fs::path& folder, const HubOptions& options) {
  const std::string full = hub_name(name);
  const fs::path out = folder.has_filename() ? folder : folder.parent_path();  // "a/b/" is "a/b"
  if (!is_word(options.revision, true) || options.revision.ends_with('/') || options.revision.starts_with('/')) {
    throw UsageError(fmt::format("--revision {}: not a branch, tag or commit", options.revision));
  }
  std::error_code missing;
  check(!fs::exists(fs::symlink_status(out, missing)), "{}: exists already; remove it or name another folder",
        out.string());
  const fs::path part = out.string() + ".part";
  make_directories(part);
  const FolderLock lock(part);
  std::string mirror_error;
  // A mirror holds one revision, whichever it is.
  if (!options.mirror.empty() && options.revision == "main") {
    const std::string slash = options.mirror.ends_with('/') ? "" : "/";
    Fetch fetch({options.mirror + slash + full + "/", "", !is_address(options.mirror)}, part, options);
    try {
      gather(fetch, full, part, options, false);
      return {fetch.source().prefix, publish(part, out)};
    } catch (const Error& error) {
      mirror_error = fmt::format("mirror {}; ", error.what());
    }
  }
  Fetch fetch({fmt::format("{}/{}/resolve/{}/", options.address, full, options.revision), options.token, false}, part,
              options);
  try {
    gather(fetch, full, part, options, true);
    return {fetch.source().prefix, publish(part, out)};
  } catch (const Error& error) {
    remove_unless_useful(part);
    fail("{}{}{}", mirror_error, error.what(), hint_for(error.what(), options.address));
  }
}

}  // namespace ink
