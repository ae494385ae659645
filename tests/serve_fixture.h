// A tiny model that is served.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "ink/base/file.h"
#include "ink/format/model_io.h"
#include "ink/serve/api.h"
#include "ink/serve/engine.h"
#include "ink/serve/status.h"
#include "tests/http_client.h"
#include "tests/model_helpers.h"
#include "tests/temp_dir.h"

namespace ink {

// Three pages of context, and a token a byte.
inline const Gpt2Config kServed = {.context = 96, .vocab = 256, .layers = 2, .heads = 2, .channels = 16};

inline void save_served(const fs::path& folder, uint32_t seed) {
  ThreadPool pool(1);
  const std::unique_ptr<Ops> ops = make_ops("cpu", pool);
  const std::unique_ptr<Gpt2> model = make_model(*ops, {}, kServed);
  randomize(*model, seed);
  make_directories(folder);
  save_huggingface(folder, *model);
  make_byte_tokenizer()->save(folder);
}

// What a model computes on.
struct ServedDevice {
  ThreadPool pool{2};
  std::unique_ptr<Ops> ops = make_ops("cpu", pool);
};

inline std::shared_ptr<ServedModel> load_served(const fs::path& folder, const EngineOptions& options) {
  const auto device = std::make_shared<ServedDevice>();
  const auto served = std::make_shared<ServedModel>();
  served->owner = device;
  served->pool = &device->pool;
  served->loaded = load_model(folder, *device->ops, Engine::inference_options(options, kServed.context));
  served->name = "tiny";
  served->created = 1700000000;
  return served;
}

class Served : public testing::Test {
 protected:
  void SetUp() override { save_served(folder(), 7); }

  fs::path folder() const { return dir_ / "model"; }

  void start_engine() {
    engine_ = std::make_unique<Engine>(options_, [this] { return load_served(folder(), options_); });
  }

  void start() {
    if (engine_ == nullptr) start_engine();
    server_ = std::make_unique<HttpServer>(http_);
    add_api_routes(*server_, *engine_);
    add_status_routes(*server_, engine_.get());
    server_->start();
  }

  int port() const { return server_->port(); }
  Reply complete(const std::string& body, const std::vector<std::string>& headers = {}) const {
    return ask(port(), "POST", "/v1/completions", body, headers);
  }

  // The ids that generate() adds to a prompt, with nothing else around.
  std::vector<int32_t> alone(const SequenceRequest& request) {
    if (alone_ == nullptr) {
      device_ = std::make_unique<ServedDevice>();
      alone_ = std::make_unique<LoadedModel>(load_model(folder(), *device_->ops));
    }
    std::vector<int32_t> ids = request.prompt;
    const GenerateOptions options = {
        .max_tokens = request.max_tokens, .sampler = request.sampler, .logprobs = request.logprobs};
    alone_tokens_.clear();
    generate(*alone_->model, options, -1, ids, [&](const GeneratedToken& token) {
      alone_tokens_.push_back(token);
      return true;
    });
    return {ids.begin() + static_cast<int64_t>(request.prompt.size()), ids.end()};
  }

  TempDir dir_;
  EngineOptions options_;
  HttpOptions http_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<ServedDevice> device_;
  std::unique_ptr<LoadedModel> alone_;
  std::vector<GeneratedToken> alone_tokens_;  // of the last call of alone()
};

}  // namespace ink
