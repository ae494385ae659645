# The accelerate device's sources against a shim of the few functions they call, where Apple's library is not; where it
# is, ops_test runs them for real. The table of devices is built once more, with this device in it.
if(NOT INK_ACCELERATE)
  get_target_property(ops_sources ink_ops SOURCES)
  list(TRANSFORM ops_sources PREPEND ${PROJECT_SOURCE_DIR}/ink/ops/)
  add_library(ink_ops_on_shim STATIC ${INK_ACCELERATE_SOURCES} ${ops_sources} accelerate_shim/shim.cc
    ${PROJECT_SOURCE_DIR}/ink/base/parallel_gcd.cc)
  target_include_directories(ink_ops_on_shim PUBLIC accelerate_shim)
  target_compile_definitions(ink_ops_on_shim PRIVATE INK_WITH_ACCELERATE $<TARGET_PROPERTY:ink_ops,COMPILE_DEFINITIONS>)
  target_link_libraries(ink_ops_on_shim PUBLIC $<TARGET_PROPERTY:ink_ops,LINK_LIBRARIES> ink_tensor ink_flags)
  ink_test(accelerate_shim_test SOURCES accelerate_shim_test.cc DEPS ink_ops_on_shim)
  ink_test(accelerate_test
    SOURCES accelerate_choose_test.cc accelerate_test.cc count_allocations.cc ops_cases.cc ops_cpu_test.cc ops_weights_test.cc weights_cases.cc
    DEPS ink_ops_on_shim hwy::hwy)
  target_compile_definitions(accelerate_test PRIVATE INK_ONLY_DEVICE="accelerate"
    "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128)")
endif()
