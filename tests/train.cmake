ink_test(infer_test SOURCES count_allocations.cc infer_test.cc inference_random_test.cc inference_test.cc DEPS ink_infer ink_format ink_ops)
ink_test(train_parts_test
  SOURCES train_options_test.cc train_parts_test.cc train_progress_test.cc
  DEPS ink_train ink_ops nlohmann_json::nlohmann_json)
ink_test(train_checkpoint_test SOURCES train_checkpoint_test.cc DEPS ink_train ink_ops)
ink_test(train_test
  SOURCES train_sources_test.cc train_trainer_test.cc
  DEPS ink_train ink_ops nlohmann_json::nlohmann_json)
# The tests of the command line run the built program.
ink_test(cli_train_test SOURCES cli_train_test.cc DEPS ink_train ink_ops nlohmann_json::nlohmann_json)
ink_test(cli_commands_test SOURCES cli_commands_test.cc cli_streams_test.cc DEPS ink_train ink_ops nlohmann_json::nlohmann_json)
ink_test(cli_sample_test SOURCES cli_sample_test.cc DEPS ink_train ink_ops nlohmann_json::nlohmann_json)
foreach(test cli_train_test cli_commands_test cli_sample_test)
  target_compile_definitions(${test} PRIVATE INK_PROGRAM="$<TARGET_FILE:ink>")
  add_dependencies(${test} ink)
endforeach()
ink_test(gpu_train_test SOURCES gpu_train_test.cc DEPS ink_train ink_ops nlohmann_json::nlohmann_json)
