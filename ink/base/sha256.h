// SHA-256 (FIPS 180-4), for checking what was downloaded.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace ink {

// A running hash.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(const void* data, size_t bytes);
  std::string hex();  // finishes: 64 lower-case hexadecimal digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::string_view data);
std::string sha256_file(const std::filesystem::path& path);  // maps the file

}  // namespace ink
