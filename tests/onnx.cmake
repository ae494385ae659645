include(InkOnnx)
if(INK_ONNX_FOUND)
  ink_test(onnx_test SOURCES onnx_test.cc DEPS ink_format)
  ink_link_onnx(onnx_test)
endif()
# The file that a build without the library takes stands in for the room's own.
ink_test(onnx_none_test SOURCES onnx_none_test.cc ../ink/format/onnx_none.cc DEPS ink_format)
