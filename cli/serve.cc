// ink serve: a model behind an HTTP interface, and a page for it and for training runs.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"
#include "cli/options.h"
#include "ink/base/check.h"
#include "ink/format/model_io.h"
#include "ink/infer/model.h"
#include "ink/serve/api.h"
#include "ink/serve/dashboard.h"
#include "ink/serve/engine.h"
#include "ink/serve/http_server.h"
#include "ink/serve/page.h"
#include "ink/serve/status.h"
#include "ink/train/checkpoint.h"

namespace ink {

namespace {

struct ServeCommand {
  std::string model, name, tokenizer;
  std::vector<std::string> runs;  // folders that the page shows
  int64_t context = 0;
  int64_t grace = 60;  // seconds
  bool no_auth = false;
  EngineOptions engine;
  HttpOptions http;
  DeviceOptions device;
};

bool is_loopback(const std::string& address) {
  in_addr v4 = {};
  if (::inet_pton(AF_INET, address.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return address == "::1";
}

// Names that no request could ever have would be ignored without a word.
void check_names(const HttpOptions& http) {
  const auto odd = [](std::string_view text, std::string_view signs) {
    return text.empty() || !std::ranges::all_of(text, [&](char c) {
             return c > ' ' && c <= '~' && signs.find(c) == std::string_view::npos && !(c >= 'A' && c <= 'Z');
           });
  };
  for (const std::string& origin : http.origins) {
    const size_t scheme = origin.find("://");
    if (scheme == std::string::npos || scheme == 0 || odd(std::string_view(origin).substr(scheme + 3), "/*?#@,")) {
      throw UsageError(
          fmt::format("--allow-origin {}: must be as https://example.org, in small letters, without a path", origin));
    }
  }
  for (const std::string& host : http.hosts) {
    if (odd(host, "/*?#@,:")) {
      throw UsageError(fmt::format("--allow-host {}: must be a name as box.example, without a port", host));
    }
  }
}

void check_access(ServeCommand& s) {
  in6_addr bytes = {};
  const std::string& address = s.http.address;
  if (::inet_pton(AF_INET, address.c_str(), &bytes) != 1 && ::inet_pton(AF_INET6, address.c_str(), &bytes) != 1) {
    throw UsageError(fmt::format("--address {}: not an IP address", address));
  }
  if (const char* key = std::getenv("INK_API_KEY"); key != nullptr && s.http.api_key.empty()) s.http.api_key = key;
  if (!std::ranges::all_of(s.http.api_key, [](char c) { return c > ' ' && c <= '~'; })) {
    throw UsageError("the API key can hold letters, digits and signs of ASCII, but no blanks");
  }
  if (s.no_auth && !s.http.api_key.empty()) throw UsageError("--no-auth: an API key is given as well");
  if (!is_loopback(address) && s.http.api_key.empty() && !s.no_auth) {
    throw UsageError(fmt::format(
        "--address {}: others could use it; set --api-key or INK_API_KEY, or say --no-auth if that is meant", address));
  }
}

// The signals that end a server or make it load anew. They are blocked in all threads and waited for: see
// cli/stop_signals.h.
class ServeSignals {
 public:
  // Make it before any other thread.
  ServeSignals() {
    sigemptyset(&signals_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals_, signal);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  int wait() const {
    int signal = 0;
    sigwait(&signals_, &signal);
    return signal;
  }
  // From now on SIGINT and SIGTERM end the program at once, and SIGHUP does nothing.
  void release() const {
    std::signal(SIGHUP, SIG_IGN);
    pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  }

 private:
  sigset_t signals_{};
};

std::string name_of(const ServeCommand& s) {
  if (!s.name.empty()) return s.name;
  const fs::path path = fs::path(s.model).lexically_normal();
  const fs::path last = path.has_filename() ? path.filename() : path.parent_path().filename();
  const std::string name = fs::is_directory(s.model) ? last.string() : last.stem().string();
  return name.empty() || name == "." || name == ".." ? "model" : name;
}

int64_t seconds_since_1970() {
  using std::chrono::system_clock;
  return std::chrono::duration_cast<std::chrono::seconds>(system_clock::now().time_since_epoch()).count();
}

// Loads on the thread that will compute: it is the one to be kept on a processor.
Engine::Load loader(const ServeCommand& s) {
  return [s, device = std::shared_ptr<Device>()]() mutable {
    if (device == nullptr) device = std::make_shared<Device>(s.device);
    auto served = std::make_shared<ServedModel>();
    const fs::path path = resolve_model_path(s.model);
    served->owner = device;
    served->pool = &device->pool;
    const int64_t context = s.context > 0 ? s.context : open_model(path)->config().context;
    served->loaded = load_model(path, *device->ops, Engine::inference_options(s.engine, context), s.tokenizer);
    served->name = s.name;
    served->created = seconds_since_1970();
    return served;
  };
}

void say(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void run_serve(ServeCommand s) {
  check_access(s);
  check_names(s.http);
  if (s.model.empty() && s.runs.empty()) throw UsageError("nothing to serve: give --model, --run, or both");
  for (const std::string& run : s.runs) check(fs::is_directory(run), "{}: no such run folder", run);
  s.name = name_of(s);
  const ServeSignals signals;
  Dashboard dashboard({s.runs.begin(), s.runs.end()}, !s.model.empty());
  HttpServer server(s.http);
  dashboard.add_routes(server);
  add_page(server);
  std::unique_ptr<Engine> engine;
  if (!s.model.empty()) {
    engine = std::make_unique<Engine>(s.engine, loader(s));
    add_api_routes(server, *engine);
  }
  add_status_routes(server, engine.get());
  server.start();
  if (engine != nullptr) {
    const auto model = engine->model();
    say(fmt::format("{}: context {}, {} texts at a time, on {}\n", model->name, model->context(), s.engine.running,
                    server.url()));
  } else {
    say(fmt::format("the charts of {} on {}\n", s.runs.size() == 1 ? s.runs.front() : "the runs", server.url()));
  }
  while (signals.wait() == SIGHUP) {
    if (engine == nullptr) continue;
    engine->reload([](const std::string& error) {
      if (error.empty()) return say("the model was loaded again\n");
      std::fputs(fmt::format("ink: the model stays as it is: {}\n", error).c_str(), stderr);
    });
  }
  say("finishing what runs; once more ends at once\n");
  signals.release();
  server.stop(std::chrono::seconds(s.grace));
}

void add_limit(CLI::App& command, const std::string& name, int64_t& value, int64_t min, int64_t max,
               const std::string& text) {
  require_number<int64_t>(command.add_option(name, value, text))->check(CLI::Range(min, max))->capture_default_str();
}

}  // namespace

void add_serve_command(CLI::App& app) {
  CLI::App& command =
      *app.add_subcommand("serve", "Serve a model over HTTP, as OpenAI's interface, and a page for it and for runs");
  const auto s = std::make_shared<ServeCommand>();
  s->http.port = 8080;
  command.add_option("--model", s->model, "A run folder, a model folder, a .gguf or an llm.c .bin file");
  command.add_option("--run", s->runs, "A run folder whose charts the page shows; repeatable")->allow_extra_args(false);
  command.add_option("--tokenizer", s->tokenizer, "gpt2, byte or a folder; by default the model's own");
  command.add_option("--name", s->name, "What the model is called in answers; by default as its file or folder");
  command.add_option("--address", s->http.address, "The IP address to listen on")->capture_default_str();
  require_number<int>(command.add_option("--port", s->http.port, "The port to listen on; 0: any that is free"))
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command.add_option("--api-key", s->http.api_key,
                     "What clients must know; better in INK_API_KEY, which no list shows");
  command.add_flag("--no-auth", s->no_auth, "No key, on an address that others reach");
  command.add_option("--allow-origin", s->http.origins, "https://NAME, whose pages may ask; repeatable")
      ->allow_extra_args(false);
  command.add_option("--allow-host", s->http.hosts, "A name of this server, beside its addresses; repeatable")
      ->allow_extra_args(false);
  add_limit(command, "--context", s->context, 0, int64_t{1} << 20, "Tokens of prompt and text at most; 0: all it can");
  add_limit(command, "--parallel", s->engine.running, 1, 256, "Texts that are generated at a time");
  add_limit(command, "--recent", s->engine.recent, 0, 256, "Texts kept for prompts that begin alike");
  add_limit(command, "--queue", s->engine.queue, 1, 1 << 20, "Texts that wait; more are refused");
  require_number<int>(command.add_option("--connections", s->http.connections, "Connections at a time"))
      ->check(CLI::Range(1, 900))
      ->capture_default_str();
  add_limit(command, "--grace", s->grace, 0, 86400, "Seconds that running texts get to finish at the end");
  add_device_options(command, s->device);
  command.callback([s] { run_serve(*s); });
}

}  // namespace ink
