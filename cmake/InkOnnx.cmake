# ONNX's protobuf schema as compiled C++ (Debian's libonnx-dev and libprotobuf-dev, Homebrew's onnx and protobuf), which
# ONNX files are written with. Sets INK_ONNX_FOUND.
set(INK_ONNX "auto" CACHE STRING "Write ONNX files: auto (if its library is there), on or off")
set_property(CACHE INK_ONNX PROPERTY STRINGS auto on off)
string(TOLOWER "${INK_ONNX}" wanted)
if(NOT wanted MATCHES "^(auto|on|off)$")
  message(FATAL_ERROR "INK_ONNX is '${INK_ONNX}'; it can be auto, on or off")
endif()

set(INK_ONNX_FOUND OFF)
if(NOT wanted STREQUAL "off")
  find_path(ONNX_INCLUDE_DIR onnx/onnx_pb.h)
  find_library(ONNX_PROTO_LIBRARY onnx_proto)
  # Since protobuf 22 its own package also names the libraries of Abseil that it needs; before, a library is all there is.
  find_package(Protobuf CONFIG QUIET)
  if(TARGET protobuf::libprotobuf)
    set(ink_protobuf protobuf::libprotobuf)
  else()
    find_package(Protobuf MODULE QUIET)
    set(ink_protobuf ${Protobuf_LIBRARIES})
  endif()
  if(ONNX_INCLUDE_DIR AND ONNX_PROTO_LIBRARY AND ink_protobuf)
    set(INK_ONNX_FOUND ON)
  elseif(wanted STREQUAL "on")
    message(FATAL_ERROR "INK_ONNX is on, but onnx/onnx_pb.h, libonnx_proto or protobuf is missing; "
      "install libonnx-dev and libprotobuf-dev, or with Homebrew onnx and protobuf")
  endif()
endif()

# ink_link_onnx(TARGET): for sources that include ink/format/onnx_proto.h. By the libraries' paths, as others do here:
# who links the installed library needs no package of theirs.
function(ink_link_onnx target)
  target_include_directories(${target} SYSTEM PRIVATE ${ONNX_INCLUDE_DIR} ${Protobuf_INCLUDE_DIRS})
  target_link_libraries(${target} PRIVATE ${ONNX_PROTO_LIBRARY} ${ink_protobuf})
endfunction()
