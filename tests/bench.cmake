ink_test(bench_test SOURCES bench_infer_test.cc bench_test.cc DEPS ink_bench ink_format ink_ops ink_cpu nlohmann_json::nlohmann_json)
# bench/compare.py, with programs that pretend to be those it compares.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_Interpreter_FOUND)
  add_test(NAME compare_py COMMAND Python3::Interpreter -B compare_test.py WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}/bench)
endif()
