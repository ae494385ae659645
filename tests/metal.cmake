# The metal device without Metal: all of it but calls.mm, with a stub that runs what would be executed in the emulator.
# And the kernels' text, read by clang; where Apple's compiler is, by that.
if(INK_METAL)
  set(metal_logic ink_metal)
else()
  set(metal_logic ink_metal_logic)
  add_library(ink_metal_logic STATIC ${INK_METAL_SOURCES})
  target_link_libraries(ink_metal_logic PUBLIC ink_gpu)
endif()
add_library(ink_metal_stub STATIC metal_stub/kernels_bf16.cc metal_stub/kernels_f32.cc metal_stub/stub.cc)
target_link_libraries(ink_metal_stub PUBLIC ${metal_logic} ink_gpu)
target_compile_options(ink_metal_stub PRIVATE $<$<CONFIG:Debug>:-O1> ${INK_FIBER_OPTIONS})  # as the emulator's
ink_test(metal_test SOURCES metal_test.cc ops_cases.cc DEPS ink_metal_stub ink_format ink_infer ink_ops ink_ref)

set(text ${CMAKE_CURRENT_BINARY_DIR}/kernels.metal)
ink_metal_source(${text})
add_custom_target(metal_text ALL DEPENDS ${text})
target_compile_definitions(metal_test PRIVATE INK_METAL_TEXT="${text}")
add_dependencies(metal_test metal_text)
find_program(INK_LINT_CLANG NAMES clang clang-14)
if(INK_LINT_CLANG)
  add_test(NAME metal_lint COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/metal_lint/lint.sh ${INK_LINT_CLANG} ${text})
  set_tests_properties(metal_lint PROPERTIES SKIP_RETURN_CODE 77)
endif()
if(INK_METAL)
  foreach(real U D)  # without and with bf16; Xcode's compiler is the one that Macs have built in
    add_test(NAME metal_compile_${real} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/metal_lint/compile.sh ${text}
      -${real}INK_REAL_BF16)
    set_tests_properties(metal_compile_${real} PROPERTIES SKIP_RETURN_CODE 77)
  endforeach()
endif()
