ink_test(model_test
  SOURCES model_config_test.cc model_gpt2_test.cc model_io_test.cc model_pytorch_test.cc model_safetensors_test.cc
  DEPS ink_format ink_ops nlohmann_json::nlohmann_json)
