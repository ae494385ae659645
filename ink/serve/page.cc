#include "ink/serve/page.h"

#include <vector>

#include "ink/base/sha256.h"

// Written at build time, one a file of ink/serve/web (cmake/EmbedFile.cmake).
namespace ink::assets {
std::string_view web_index_html();
std::string_view web_icon_svg();
std::string_view web_style_css();
std::string_view web_main_js();
std::string_view web_api_js();
std::string_view web_elements_js();
std::string_view web_playground_js();
std::string_view web_options_js();
std::string_view web_tokens_js();
std::string_view web_history_js();
std::string_view web_dashboard_js();
std::string_view web_runs_js();
std::string_view web_chart_js();
std::string_view web_series_js();
}  // namespace ink::assets

namespace ink {

namespace {

constexpr std::string_view kHtml = "text/html; charset=utf-8";
constexpr std::string_view kCss = "text/css; charset=utf-8";
constexpr std::string_view kScript = "text/javascript; charset=utf-8";

std::vector<WebFile> make_web_files() {
  std::vector<WebFile> files = {
      {"/", kHtml, assets::web_index_html(), ""},
      {"/icon.svg", "image/svg+xml", assets::web_icon_svg(), ""},
      {"/style.css", kCss, assets::web_style_css(), ""},
      {"/main.js", kScript, assets::web_main_js(), ""},
      {"/api.js", kScript, assets::web_api_js(), ""},
      {"/elements.js", kScript, assets::web_elements_js(), ""},
      {"/playground.js", kScript, assets::web_playground_js(), ""},
      {"/options.js", kScript, assets::web_options_js(), ""},
      {"/tokens.js", kScript, assets::web_tokens_js(), ""},
      {"/history.js", kScript, assets::web_history_js(), ""},
      {"/dashboard.js", kScript, assets::web_dashboard_js(), ""},
      {"/runs.js", kScript, assets::web_runs_js(), ""},
      {"/chart.js", kScript, assets::web_chart_js(), ""},
      {"/series.js", kScript, assets::web_series_js(), ""},
  };
  for (WebFile& file : files) file.etag = "\"" + sha256_hex(file.content).substr(0, 32) + "\"";
  return files;
}

HttpResponse answer(const WebFile& file, const HttpRequest& request) {
  HttpResponse response;
  response.content_type = file.content_type;
  // A browser asks each time whether it still has the newest: an updated program brings its own page.
  response.headers = {{"ETag", file.etag}, {"Cache-Control", "no-cache"}};
  if (request.header("If-None-Match").find(file.etag) != std::string_view::npos) {
    response.status = 304;
  } else {
    response.body = file.content;
  }
  return response;
}

}  // namespace

std::span<const WebFile> web_files() {
  static const std::vector<WebFile> files = make_web_files();
  return files;
}

void add_page(HttpServer& server) {
  for (const WebFile& file : web_files()) {
    server.route(
        "GET", file.path, [&file](const HttpRequest& request) { return answer(file, request); }, Access::open);
  }
}

}  // namespace ink
