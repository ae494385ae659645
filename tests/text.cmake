ink_test(base_suggest_test SOURCES base_suggest_test.cc DEPS ink_base)
ink_test(text_test
  SOURCES text_bpe_test.cc text_files_test.cc text_gpt2_test.cc text_kinds_test.cc
  DEPS ink_text nlohmann_json::nlohmann_json)
