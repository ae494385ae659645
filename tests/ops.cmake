ink_test(ops_test
  SOURCES count_allocations.cc ops_cached_attention_test.cc ops_cases.cc ops_cpu_test.cc ops_device_test.cc ops_grad_test.cc ops_weights_test.cc weights_cases.cc
  DEPS ink_ops ink_ref ink_ops_api hwy::hwy)
target_compile_definitions(ops_test PRIVATE
  "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128)")  # as the kernels are built
ink_test(gpu_test SOURCES gpu_emulator_test.cc gpu_gemm_test.cc gpu_cached_attention_test.cc gpu_ops_test.cc gpu_rows_test.cc gpu_weights_test.cc ops_cases.cc weights_cases.cc DEPS ink_gpu ink_ops ink_ref)
