// A build without the HTTP library.
#include <gtest/gtest.h>

#include "ink/base/check.h"
#include "ink/serve/http_server.h"

namespace ink {
namespace {

TEST(ServeNone, SaysSo) {
  EXPECT_NE(http_library().find("none"), std::string_view::npos);
  try {
    HttpServer server({});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("libcpp-httplib-dev"), std::string::npos);
  }
}

}  // namespace
}  // namespace ink
