# Helpers that declare the library's rooms and their tests, with one set of flags for all.
include(GNUInstallDirs)

if(INK_CCACHE)
  find_program(INK_CCACHE_PROGRAM ccache)
  if(INK_CCACHE_PROGRAM)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${INK_CCACHE_PROGRAM})
  endif()
endif()

add_library(ink_flags INTERFACE)
target_compile_features(ink_flags INTERFACE cxx_std_20)
target_include_directories(ink_flags INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
# No fused multiply-add unless the source asks for one: the same bits from every compiler.
set(INK_COMPILE_OPTIONS -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -ffp-contract=off)
# Designated initializers leave out what keeps its default: that is what they are for.
target_compile_options(ink_flags INTERFACE -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(ink_flags INTERFACE -Wno-restrict)  # false alarms on std::string's operator+ (GCC bug 105651)
endif()
if(INK_WERROR)
  list(APPEND INK_COMPILE_OPTIONS -Werror)
endif()
if(INK_SANITIZE)
  list(APPEND INK_COMPILE_OPTIONS -fsanitize=${INK_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(ink_flags INTERFACE $<BUILD_INTERFACE:-fsanitize=${INK_SANITIZE}>)
  if(INK_SANITIZE MATCHES address)
    list(APPEND INK_COMPILE_OPTIONS -DINK_ASAN)
    # For code that runs on fibers: they would get a second stack each, to find uses after a return, at every start.
    set(INK_FIBER_OPTIONS
      $<IF:$<CXX_COMPILER_ID:GNU>,--param=asan-use-after-return=0,-fsanitize-address-use-after-return=never>)
  endif()
endif()
if(INK_FUZZ)
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_FLAGS -fsanitize=fuzzer)
  check_cxx_source_compiles("extern \"C\" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }"
    INK_HAS_LIBFUZZER)
  unset(CMAKE_REQUIRED_FLAGS)
  if(NOT INK_HAS_LIBFUZZER)
    message(FATAL_ERROR "INK_FUZZ needs clang with libFuzzer (Debian: clang-14 and libclang-rt-14-dev)")
  endif()
  list(APPEND INK_COMPILE_OPTIONS -fsanitize=fuzzer-no-link)
endif()
# Only here: who links the installed library picks their own.
target_compile_options(ink_flags INTERFACE "$<BUILD_INTERFACE:${INK_COMPILE_OPTIONS}>")
install(TARGETS ink_flags EXPORT inkling)
set_target_properties(ink_flags PROPERTIES EXPORT_NAME flags)

# ink_room(NAME [SOURCES ...] [DEPS ...] [PRIVATE_DEPS ...])
# One room of the library: the static library ink_NAME, inkling::NAME when installed. DEPS are the rooms (and public
# libraries) whose headers its own headers include; a room links only what it declares, so an arrow that points upwards
# fails to link.
function(ink_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  if(ARG_SOURCES)
    add_library(ink_${name} STATIC ${ARG_SOURCES})
    target_link_libraries(ink_${name} PUBLIC ink_flags ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  else()
    add_library(ink_${name} INTERFACE)
    target_link_libraries(ink_${name} INTERFACE ink_flags ${ARG_DEPS})
  endif()
  install(TARGETS ink_${name} EXPORT inkling ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  set_target_properties(ink_${name} PROPERTIES EXPORT_NAME ${name})
  set_property(GLOBAL APPEND PROPERTY INK_ROOMS ink_${name})
endfunction()

# ink_test(NAME SOURCES ... DEPS ...): one GoogleTest program; every case of it is a CTest test.
function(ink_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} ink_flags GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE INK_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST)
endfunction()
