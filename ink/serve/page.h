// The page: HTML, CSS and JavaScript of ink/serve/web, which the program carries inside itself.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "ink/serve/http_server.h"

namespace ink {

struct WebFile {
  std::string_view path;  // "/chart.js"
  std::string_view content_type;
  std::string_view content;
  std::string etag;  // in its quotes, from the content
};

// In the order of the table in page.cc; the first is the page itself, "/".
std::span<const WebFile> web_files();

// Adds the files to a server, for everyone: what they show is asked for with the API key.
void add_page(HttpServer& server);

}  // namespace ink
