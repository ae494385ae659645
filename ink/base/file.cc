#include "ink/base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef INK_ASAN
#include <sanitizer/asan_interface.h>
#endif

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "ink/base/check.h"

namespace ink {

namespace {

std::string reason() { return std::strerror(errno); }

// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

int open_for_reading(const fs::path& path, int flags = 0) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  check(fd >= 0, "{}: cannot open: {}", path.string(), reason());
  struct stat status {};
  if (::fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
    ::close(fd);
    fail("{}: is a folder, expected a file", path.string());
  }
  return fd;
}

std::string read_all(int fd, const std::string& name) {
  std::string text;
  struct stat status {};
  if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) text.reserve(static_cast<size_t>(status.st_size));
  char buffer[1 << 16];
  while (true) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    check(n >= 0, "{}: cannot read: {}", name, reason());
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
  }
}

void sync_directory(const fs::path& path) {
  const Descriptor fd(::open(path.empty() ? "." : path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() >= 0) ::fsync(fd.get());  // some file systems cannot sync a folder: the rename stands all the same
}

void rename_path(const fs::path& from, const fs::path& to) {
  check(::rename(from.c_str(), to.c_str()) == 0, "{}: cannot rename to {}: {}", from.string(), to.string(), reason());
}

// The last page of a map goes on after the file's end. AddressSanitizer tells reads there if it is told where that is.
#ifdef INK_ASAN
size_t tail_of(size_t size) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGE_SIZE));
  return (page - size % page) % page;
}
void guard_tail(const std::byte* data, size_t size) { __asan_poison_memory_region(data + size, tail_of(size)); }
void release_tail(const std::byte* data, size_t size) { __asan_unpoison_memory_region(data + size, tail_of(size)); }
#else
void guard_tail(const std::byte* /*data*/, size_t /*size*/) {}
void release_tail(const std::byte* /*data*/, size_t /*size*/) {}
#endif

constexpr std::string_view kTemporarySuffix = ".tmp";

fs::path temporary_sibling(const fs::path& path) {
  fs::path normal = path.lexically_normal();
  if (normal.filename().empty()) normal = normal.parent_path();  // "a/b/" is "a/b"
  return normal.parent_path() / fmt::format(".{}{}", normal.filename().string(), kTemporarySuffix);
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const Descriptor fd(open_for_reading(path, O_NONBLOCK));  // a pipe without a writer must not hang
  struct stat status {};
  check(::fstat(fd.get(), &status) == 0, "{}: cannot stat: {}", path.string(), reason());
  check(S_ISREG(status.st_mode), "{}: not a regular file", path.string());
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  check(data != MAP_FAILED, "{}: cannot map {} bytes: {}", path.string(), size_, reason());
  data_ = static_cast<const std::byte*>(data);
  guard_tail(data_, size_);
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  release_tail(data_, size_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::drop(std::span<const std::byte> part) const {
  // Pages that also hold something else stay.
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGE_SIZE));
  const size_t begin = (static_cast<size_t>(part.data() - data_) + page - 1) / page * page;
  const size_t part_end = static_cast<size_t>(part.data() - data_) + part.size();
  const size_t end = part_end == size_ ? part_end : part_end / page * page;
  // A hint: where it is refused, the pages stay.
  if (begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::string read_file(const fs::path& path) {
  const Descriptor fd(open_for_reading(path));
  return read_all(fd.get(), path.string());
}

std::string read_stdin() { return read_all(STDIN_FILENO, "standard input"); }

namespace {

int open_for_writing(const fs::path& path, int flags) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
  check(fd >= 0, "{}: cannot write: {}", path.string(), reason());
  return fd;
}

// Whether the path still names the open file: its writer may have renamed or removed it.
bool is_at(int fd, const fs::path& path) {
  struct stat open {};
  struct stat there {};
  return ::fstat(fd, &open) == 0 && ::stat(path.c_str(), &there) == 0 && open.st_dev == there.st_dev &&
         open.st_ino == there.st_ino;
}

// Locked as long as it is open.
int open_alone(const fs::path& path) {
  while (true) {
    Descriptor fd(open_for_writing(path, 0));
    const bool locked = ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0;  // a file system without locks: go on without
    check(locked || errno != EWOULDBLOCK, "{}: another process is writing this file; wait until it has ended",
          path.string());
    if (!is_at(fd.get(), path)) continue;
    check(::ftruncate(fd.get(), 0) == 0, "{}: cannot write: {}", path.string(), reason());
    return fd.release();
  }
}

}  // namespace

OutputFile::OutputFile(const fs::path& path, Mode mode)
    : path_(path),
      fd_(mode == Mode::alone ? open_alone(path) : open_for_writing(path, mode == Mode::append ? O_APPEND : O_TRUNC)) {}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

void OutputFile::write(const void* data, size_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(fd_, next, std::min(bytes, size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    check(n > 0, "{}: cannot write: {}", path_.string(), reason());
    next += n;
    bytes -= static_cast<size_t>(n);
  }
}

void OutputFile::write_at(uint64_t offset, const void* data, size_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::pwrite(fd_, next, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    check(n > 0, "{}: cannot write: {}", path_.string(), reason());
    next += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<size_t>(n);
  }
}

void OutputFile::sync() { check(::fsync(fd_) == 0, "{}: cannot sync: {}", path_.string(), reason()); }

void OutputFile::close() {
  if (fd_ < 0) return;
  check(::close(std::exchange(fd_, -1)) == 0, "{}: cannot write: {}", path_.string(), reason());
}

namespace {
// What a new file must not take the place of: a folder, a device, a pipe.
const fs::path& replaceable(const fs::path& path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  check(!fs::exists(status) || fs::is_regular_file(status), "{}: is not a file that could be replaced", path.string());
  return path;
}
}  // namespace

AtomicFile::AtomicFile(const fs::path& path)
    : path_(replaceable(path)), temporary_(temporary_sibling(path)), out_(temporary_, OutputFile::Mode::alone) {}

AtomicFile::~AtomicFile() {
  if (temporary_.empty()) return;
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void AtomicFile::commit() {
  out_.sync();
  rename_path(temporary_, path_);
  temporary_.clear();
  out_.close();  // and with it the lock: not while somebody else could take the temporary name
  sync_directory(path_.parent_path());
}

void write_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

AtomicDirectory::AtomicDirectory(const fs::path& path, Existing existing)
    : path_(path), temporary_(temporary_sibling(path)) {
  std::error_code ignored;
  check(existing == Existing::replace || !fs::exists(fs::symlink_status(path, ignored)), "{}: exists already",
        path.string());
  for (fs::path parent = temporary_.parent_path(); !parent.empty() && !fs::exists(parent, ignored);
       parent = parent.parent_path()) {
    made_parent_ = parent;
  }
  if (fs::exists(temporary_, ignored)) FolderLock{temporary_};  // an error while somebody else is filling it
  remove_tree(temporary_);
  make_directories(temporary_);
  lock_ = std::make_unique<FolderLock>(temporary_);
}

AtomicDirectory::~AtomicDirectory() {
  if (temporary_.empty()) return;
  std::error_code error;
  fs::remove_all(temporary_, error);
  if (made_parent_.empty()) return;
  // remove() leaves a folder that somebody else has filled since.
  fs::path parent = temporary_.parent_path();
  while (fs::remove(parent, error) && parent != made_parent_) parent = parent.parent_path();
}

void AtomicDirectory::commit() {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(temporary_)) {
    if (!entry.is_regular_file()) continue;
    const Descriptor fd(open_for_reading(entry.path()));
    check(::fsync(fd.get()) == 0, "{}: cannot sync: {}", entry.path().string(), reason());
  }
  sync_directory(temporary_);
  // A folder cannot be renamed over one that holds files: the old one steps aside.
  const fs::path old = temporary_.parent_path() / (temporary_.filename().string() + ".old.tmp");
  remove_tree(old);
  if (fs::exists(path_)) rename_path(path_, old);
  rename_path(temporary_, path_);
  temporary_.clear();
  sync_directory(path_.parent_path());
  remove_tree(old);
}

FolderLock::FolderLock(const fs::path& folder) : fd_(::open(folder.c_str(), O_RDONLY | O_CLOEXEC)) {
  check(fd_ >= 0, "{}: cannot open: {}", folder.string(), reason());
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  const bool held = errno == EWOULDBLOCK;
  ::close(fd_);
  fd_ = -1;  // a file system without locks: go on without
  check(!held, "{}: another process is using this folder; wait until it has ended", folder.string());
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

void make_directories(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  check(!error, "{}: cannot create the folder: {}", path.string(), error.message());
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  check(!error, "{}: cannot remove: {}", path.string(), error.message());
}

bool is_temporary_name(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with('.') && name.ends_with(kTemporarySuffix);
}

}  // namespace ink
