// The classes of ONNX's own protobuf schema. Only files that are built with the library include this.
#pragma once

// The schema that every installed library has, and that the header asks for.
#ifndef ONNX_ML
#define ONNX_ML 1
#endif
#ifndef ONNX_NAMESPACE
#define ONNX_NAMESPACE onnx
#endif

#include <onnx/onnx_pb.h>
