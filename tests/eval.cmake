ink_test(eval_test SOURCES eval_test.cc DEPS ink_eval ink_infer ink_format ink_ops)
ink_test(cli_eval_test SOURCES cli_eval_test.cc DEPS ink_train ink_ops nlohmann_json::nlohmann_json)
target_compile_definitions(cli_eval_test PRIVATE INK_PROGRAM="$<TARGET_FILE:ink>")
add_dependencies(cli_eval_test ink)
