# The real readers of the files that are written here: Python packages, which scripts/setup.sh --readers installs. A test
# that misses one says so and counts as skipped.
set(INK_READERS_PYTHON "" CACHE STRING "Python of the tests with other programs' readers; empty: build/readers or python3")
set(readers_python ${INK_READERS_PYTHON})
if(NOT readers_python AND EXISTS ${PROJECT_SOURCE_DIR}/build/readers/bin/python)
  set(readers_python ${PROJECT_SOURCE_DIR}/build/readers/bin/python)
elseif(NOT readers_python)
  find_program(INK_PYTHON3 NAMES python3)
  set(readers_python ${INK_PYTHON3})
endif()

add_executable(print_logits readers/print_logits.cc)
target_link_libraries(print_logits PRIVATE ink_flags ink_format ink_ops)

# ink_reader_test(NAME FILE): runs the script with INK and PRINT_LOGITS naming the programs; exit status 77 is a skip.
function(ink_reader_test name file)
  if(NOT readers_python)
    return()
  endif()
  add_test(NAME ${name} COMMAND ${readers_python} ${CMAKE_CURRENT_SOURCE_DIR}/readers/${file})
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77
    ENVIRONMENT "INK=$<TARGET_FILE:ink>;PRINT_LOGITS=$<TARGET_FILE:print_logits>;PYTHONDONTWRITEBYTECODE=1")
endfunction()

ink_reader_test(readers.transformers transformers_models.py)
ink_reader_test(readers.gguf gguf_models.py)
if(INK_ONNX_FOUND)
  ink_reader_test(readers.onnx onnx_models.py)
endif()
include(InkHttp)
if(INK_HTTP_FOUND)
  ink_reader_test(readers.openai openai_client.py)
endif()
