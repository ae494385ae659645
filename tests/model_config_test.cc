// model: presets, descriptors, ranges and the table of parameters.
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "ink/model/config.h"
#include "ink/model/schema.h"
#include "tests/model_helpers.h"

namespace ink {
namespace {

TEST(Config, PresetsAreValidAndFoundByName) {
  std::set<std::string_view> names;
  for (const Preset& preset : presets()) {
    EXPECT_NO_THROW(preset.config.validate(preset.name));
    EXPECT_EQ(config_from_name(preset.name), preset.config);
    EXPECT_TRUE(names.insert(preset.name).second) << preset.name;
    EXPECT_FALSE(preset.description.empty());
  }
}

TEST(Config, PresetsHaveThePublishedSizes) {
  EXPECT_EQ(config_from_name("gpt2").parameters(), 124439808);
  EXPECT_EQ(config_from_name("gpt2-medium").parameters(), 354823168);
  EXPECT_EQ(config_from_name("gpt2-large").parameters(), 774030080);
  EXPECT_EQ(config_from_name("gpt2-xl").parameters(), 1557611200);
  EXPECT_EQ(config_from_name("gpt2").padded_vocab(), 50304);
  EXPECT_EQ(config_from_name("gpt2").head_size(), 64);
}

TEST(Config, TakesLlmcDescriptors) {
  EXPECT_EQ(config_from_name("d12"), config_from_name("gpt2"));
  EXPECT_EQ(config_from_name("gpt2:d48"), config_from_name("gpt2-xl"));
  EXPECT_EQ(config_from_name("d60"), (Gpt2Config{1024, 50257, 60, 30, 1920}));
  EXPECT_EQ(config_from_name("gpt3:c768"), (Gpt2Config{2048, 50257, 12, 12, 768}));
  EXPECT_EQ(config_from_name("gpt3:c1536").head_size(), 96);
  EXPECT_EQ(config_from_name("gpt3:c2560").head_size(), 80);
  for (const char* name :
       {"d6", "d24", "d36", "d72", "d84", "gpt3:c384", "gpt3:c1024", "gpt3:c2048", "gpt3:c4096", "gpt3:c12288"}) {
    EXPECT_NO_THROW(config_from_name(name).validate(name));
  }
}

TEST(Config, UnknownNamesAreUsageErrors) {
  EXPECT_THROW(config_from_name("gpt2-meduim"), UsageError);
  expect_error([] { config_from_name("gpt2-meduim"); }, {"'gpt2-meduim'", "did you mean 'gpt2-medium'?"});
  expect_error([] { config_from_name("zzzzzzzzzzzzzzz"); }, {"'zzzzzzzzzzzzzzz'", "gpt2-xl", "d12"});
  expect_error([] { config_from_name("d13"); }, {"'d13'", "depths", "6, 12, 24"});
  expect_error([] { config_from_name("gpt3:c769"); }, {"'gpt3:c769'", "channels", "384, 768"});
  for (const char* name : {"", "d", "d12x", "gpt2:d", "gpt2:d-12", "gpt3:c99999999999999999999"}) {
    EXPECT_THROW(config_from_name(name), UsageError) << name;
  }
}

TEST(Config, ValidateNamesTheDimension) {
  const auto with = [](int64_t Gpt2Config::*field, int64_t value) {
    Gpt2Config config = kTiny;
    config.*field = value;
    return config;
  };
  EXPECT_NO_THROW(kTiny.validate("x"));
  for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{1} << 40, std::numeric_limits<int64_t>::max(),
                              std::numeric_limits<int64_t>::min()}) {
    const std::string text = std::to_string(value);
    expect_error([&] { with(&Gpt2Config::context, value).validate("here"); }, {"here: context is " + text});
    expect_error([&] { with(&Gpt2Config::vocab, value).validate("here"); }, {"vocab is " + text});
    expect_error([&] { with(&Gpt2Config::layers, value).validate("here"); }, {"layers is " + text});
    expect_error([&] { with(&Gpt2Config::heads, value).validate("here"); }, {"heads is " + text});
    expect_error([&] { with(&Gpt2Config::channels, value).validate("here"); }, {"channels is " + text});
  }
  expect_error([&] { with(&Gpt2Config::heads, 3).validate("here"); }, {"channels (10)", "multiple of heads (3)"});
  for (const float eps : {0.0f, -1.0f, 1.0f, std::numeric_limits<float>::quiet_NaN()}) {
    Gpt2Config config = kTiny;
    config.eps = eps;
    expect_error([&] { config.validate("here"); }, {"here", "epsilon"});
  }
}

TEST(Schema, HasTheFieldsNamesShapesAndDecay) {
  const Gpt2Config c = kTiny;
  std::vector<std::string> names;
  for (const ParamSpec& spec : gpt2_schema()) {
    names.push_back(param_name(spec, 2));
    EXPECT_EQ(spec.decay, spec.shape(c).rank() == 2) << spec.name;
    EXPECT_EQ(spec.decay, spec.init == Init::normal || spec.init == Init::normal_residual) << spec.name;
    EXPECT_EQ(spec.init == Init::normal_residual, spec.name.ends_with("c_proj.weight")) << spec.name;
    EXPECT_EQ(spec.transposed, spec.per_layer && spec.shape(c).rank() == 2) << spec.name;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"wte.weight", "wpe.weight", "h.2.ln_1.weight", "h.2.ln_1.bias",
                                             "h.2.attn.c_attn.weight", "h.2.attn.c_attn.bias", "h.2.attn.c_proj.weight",
                                             "h.2.attn.c_proj.bias", "h.2.ln_2.weight", "h.2.ln_2.bias",
                                             "h.2.mlp.c_fc.weight", "h.2.mlp.c_fc.bias", "h.2.mlp.c_proj.weight",
                                             "h.2.mlp.c_proj.bias", "ln_f.weight", "ln_f.bias", "lm_head.weight"}));
  EXPECT_EQ(gpt2_schema()[0].shape(c), Shape({128, 10}));
  EXPECT_EQ(gpt2_schema()[4].shape(c), Shape({30, 10}));
  EXPECT_EQ(gpt2_schema()[12].shape(c), Shape({10, 40}));
}

}  // namespace
}  // namespace ink
