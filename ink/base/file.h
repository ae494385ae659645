// Files: checked reads and writes, read-only maps, and files and folders that appear whole or not at all.
// Every failure is an Error that names the path and the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace ink {

namespace fs = std::filesystem;

// A file mapped for reading. The bytes live as long as the object. An empty file gives an empty span.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const fs::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const fs::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

  // Says that this part of bytes() is not needed soon: it stops to count as the process's memory. Reading it again is
  // allowed, and reads the file again.
  void drop(std::span<const std::byte> part) const;

 private:
  fs::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The whole file as a string. A pipe or other stream is read to its end.
std::string read_file(const fs::path& path);

// Everything left on standard input.
std::string read_stdin();

// A file opened for writing, buffered by the system only.
class OutputFile {
 public:
  OutputFile() = default;
  // alone: as create, but an Error while another process has the file open so.
  enum class Mode { create, append, alone };
  OutputFile(const fs::path& path, Mode mode);
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;

  bool is_open() const { return fd_ >= 0; }
  const fs::path& path() const { return path_; }
  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void write(std::span<const T> values) { write(values.data(), values.size_bytes()); }
  // Overwrites bytes at an offset from the start; the position does not move.
  void write_at(uint64_t offset, const void* data, size_t bytes);
  void sync();  // to the disk
  void close();

 private:
  fs::path path_;
  int fd_ = -1;
};

// A file written beside its final name and renamed onto it by commit(): readers see the old content or the new, never a
// part. Without commit() the destructor removes what was written. Throws Error if the path is something other than a
// regular file, such as a folder or a device, and while another process writes the same one.
class AtomicFile {
 public:
  explicit AtomicFile(const fs::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  OutputFile& out() { return out_; }
  void write(const void* data, size_t bytes) { out_.write(data, bytes); }
  void write(std::string_view text) { out_.write(text); }
  void commit();  // syncs, renames, syncs the folder

 private:
  fs::path path_;
  fs::path temporary_;
  OutputFile out_;
};

// Writes text to path, whole or not at all.
void write_file(const fs::path& path, std::string_view text);

// An exclusive lock on a folder, held as long as the object lives or until the process ends. Throws Error if another
// process holds it.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

// A folder filled under a temporary sibling name (`.NAME.tmp`) and renamed by commit(). Without commit() the destructor
// removes it, and the parents that were made for it. A sibling left by a killed process is removed when the same folder
// is written again. Throws Error while another process writes the same one.
class AtomicDirectory {
 public:
  enum class Existing { refuse, replace };
  explicit AtomicDirectory(const fs::path& path, Existing existing = Existing::refuse);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  const fs::path& temporary() const { return temporary_; }  // write the content here
  void commit();  // syncs every file in it, renames (over what is replaced), syncs the parent

 private:
  fs::path path_;
  fs::path temporary_;
  fs::path made_parent_;  // the outermost folder that was made; empty if all were there
  std::unique_ptr<FolderLock> lock_;
};

// Creates a folder and its parents; no error if it exists already.
void make_directories(const fs::path& path);

// Removes a file or a folder with all it holds; no error if it does not exist.
void remove_tree(const fs::path& path);

// True for names that AtomicFile and AtomicDirectory use for what is not finished yet.
bool is_temporary_name(const fs::path& path);

}  // namespace ink
