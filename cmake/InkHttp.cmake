# cpp-httplib, the HTTP server under `ink serve` (Debian's libcpp-httplib-dev, Homebrew's cpp-httplib). Sets
# INK_HTTP_FOUND; links by ink_link_http(TARGET).
set(INK_HTTP "auto" CACHE STRING "Serve HTTP: auto (if its library is there), on or off")
set_property(CACHE INK_HTTP PROPERTY STRINGS auto on off)
string(TOLOWER "${INK_HTTP}" wanted)
if(NOT wanted MATCHES "^(auto|on|off)$")
  message(FATAL_ERROR "INK_HTTP is '${INK_HTTP}'; it can be auto, on or off")
endif()

set(INK_HTTP_FOUND OFF)
if(NOT wanted STREQUAL "off")
  # By pkg-config: it knows the macros that the library was compiled with, which change the layout of its classes.
  find_package(PkgConfig QUIET)
  if(PKG_CONFIG_FOUND)
    pkg_check_modules(INK_HTTPLIB QUIET cpp-httplib>=0.11)
  endif()
  if(INK_HTTPLIB_FOUND)
    set(INK_HTTP_FOUND ON)
  elseif(wanted STREQUAL "on")
    message(FATAL_ERROR "INK_HTTP is on, but pkg-config finds no cpp-httplib; "
      "install libcpp-httplib-dev, or with Homebrew cpp-httplib")
  endif()
endif()

# For sources that include httplib.h. By the library's path, as others do here: who links the installed library needs no
# package of theirs.
function(ink_link_http target)
  target_include_directories(${target} SYSTEM PRIVATE ${INK_HTTPLIB_INCLUDE_DIRS})
  target_compile_options(${target} PRIVATE ${INK_HTTPLIB_CFLAGS_OTHER})
  target_link_libraries(${target} PRIVATE ${INK_HTTPLIB_LINK_LIBRARIES} Threads::Threads)
endfunction()
