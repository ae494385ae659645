ink_test(bench_test SOURCES bench_test.cc DEPS ink_bench ink_ops ink_cpu nlohmann_json::nlohmann_json)
