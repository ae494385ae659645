ink_test(model_test
  SOURCES gguf_test.cc model_config_test.cc model_gpt2_test.cc model_io_test.cc model_pytorch_test.cc model_safetensors_test.cc
  DEPS ink_format ink_ops nlohmann_json::nlohmann_json)
ink_test(convert_test SOURCES convert_test.cc DEPS ink_train ink_format ink_ops)
