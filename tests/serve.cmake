include(InkHttp)
ink_test(serve_engine_test SOURCES serve_engine_test.cc DEPS ink_serve ink_ops)
if(INK_HTTP_FOUND)
  ink_test(serve_http_test SOURCES serve_http_test.cc DEPS ink_serve ink_ops)
  ink_test(serve_api_test
    SOURCES serve_api_test.cc serve_fields_test.cc
    DEPS ink_serve ink_ops nlohmann_json::nlohmann_json)
  ink_test(cli_serve_test SOURCES cli_serve_test.cc DEPS ink_serve ink_ops nlohmann_json::nlohmann_json)
  target_compile_definitions(cli_serve_test PRIVATE INK_PROGRAM="$<TARGET_FILE:ink>")
  add_dependencies(cli_serve_test ink)
  # Many clients at once, kind and hostile: a little of what docs/serving.md has the command for.
  find_package(Python3 COMPONENTS Interpreter)
  if(Python3_Interpreter_FOUND)
    add_test(NAME serve_soak COMMAND Python3::Interpreter -B ${CMAKE_CURRENT_SOURCE_DIR}/serve_soak.py
      --ink $<TARGET_FILE:ink> --clients 12 --seconds 3)
  endif()
endif()
# The file that a build without the library takes stands in for the room's own.
ink_test(serve_none_test SOURCES serve_none_test.cc ../ink/serve/http_none.cc DEPS ink_base)
