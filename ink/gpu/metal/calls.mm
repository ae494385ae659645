// Metal's calls as Apple's frameworks want them. What is called when, and with what, is metal_gpu.cc's to know.
#include "ink/gpu/metal/calls.h"

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>
#import <MetalPerformanceShaders/MetalPerformanceShaders.h>

#include <array>
#include <deque>
#include <map>
#include <string_view>
#include <utility>

#include "ink/base/check.h"
#include "ink/gpu/metal/metal_gpu.h"

namespace ink::assets {
std::string_view metal_source();  // cmake/MetalSource.cmake
}

namespace ink::metal {

namespace {

Object keep(id object) {
  if (object == nil) return {};
  return {const_cast<void*>(CFBridgingRetain(object)), CFRelease};
}
id<MTLBuffer> buffer_of(const Object& object) { return (__bridge id<MTLBuffer>)object.get(); }

NSString* string_of(std::string_view text) {
  return [[NSString alloc] initWithBytes:text.data() length:text.size() encoding:NSUTF8StringEncoding];
}
std::string words_of(NSError* error) {
  return error == nil ? "Metal does not say why" : error.localizedDescription.UTF8String;
}

NSUInteger size_of(int64_t n) { return static_cast<NSUInteger>(n); }

class MetalCalls final : public Calls {
 public:
  explicit MetalCalls(id<MTLDevice> device) : device_(device), queue_([device newCommandQueue]) {
    check(queue_ != nil, "metal: {} gives no command queue", device.name.UTF8String);
  }
  // What is still encoded must be ended before it is let go.
  ~MetalCalls() override { end_encoding(); }
  MetalCalls(const MetalCalls&) = delete;
  MetalCalls& operator=(const MetalCalls&) = delete;

  Limits limits() override {
    @autoreleasepool {
      return {.name = device_.name.UTF8String,
              .memory = NSProcessInfo.processInfo.physicalMemory,
              .working_set = device_.recommendedMaxWorkingSetSize,
              .largest_buffer = device_.maxBufferLength,
              .shared_memory = device_.maxThreadgroupMemoryLength};
    }
  }

  SharedMemory new_buffer(size_t bytes) override {
    @autoreleasepool {
      id<MTLBuffer> buffer = [device_ newBufferWithLength:bytes options:MTLResourceStorageModeShared];
      return {keep(buffer), static_cast<std::byte*>(buffer.contents)};
    }
  }

  SharedMemory wrap_buffer(std::span<const std::byte> pages, std::shared_ptr<const void> owner) override {
    @autoreleasepool {
      id<MTLBuffer> buffer = [device_ newBufferWithBytesNoCopy:const_cast<std::byte*>(pages.data())
                                                        length:pages.size()
                                                       options:MTLResourceStorageModeShared
                                                   deallocator:^(void*, NSUInteger) {
                                                     (void)owner;  // which the block keeps
                                                   }];
      return {keep(buffer), static_cast<std::byte*>(buffer.contents)};
    }
  }

  Pipeline new_pipeline(const std::string& function, DType real, int threads) override;

  void set_pipeline(const Pipeline& pipeline) override {
    @autoreleasepool {
      [compute() setComputePipelineState:(__bridge id<MTLComputePipelineState>)pipeline.state.get()];
    }
  }
  void set_buffer(int index, const Object& buffer, size_t offset) override {
    [compute() setBuffer:buffer_of(buffer) offset:offset atIndex:size_of(index)];
  }
  void set_bytes(int index, const void* bytes, size_t size) override {
    [compute() setBytes:bytes length:size atIndex:size_of(index)];
  }
  void dispatch(gpu::Grid blocks, int threads) override {
    [compute() dispatchThreadgroups:MTLSizeMake(size_of(blocks.x), size_of(blocks.y), size_of(blocks.z))
              threadsPerThreadgroup:MTLSizeMake(size_of(threads), 1, 1)];
  }
  void copy(const Object& to, size_t to_offset, const Object& from, size_t from_offset, size_t bytes) override {
    @autoreleasepool {
      [blit() copyFromBuffer:buffer_of(from)
                sourceOffset:from_offset
                    toBuffer:buffer_of(to)
           destinationOffset:to_offset
                        size:bytes];
    }
  }
  void multiply(const Matrix& out, const Matrix& a, const Matrix& b, bool trans_a, bool trans_b,
                bool accumulate) override;

  void commit() override {
    @autoreleasepool {
      end_encoding();
      [batch() commit];
      committed_.push_back(std::exchange(batch_, nil));
    }
  }
  std::string wait() override {
    @autoreleasepool {
      id<MTLCommandBuffer> oldest = committed_.front();
      committed_.pop_front();
      [oldest waitUntilCompleted];
      return oldest.status == MTLCommandBufferStatusError ? words_of(oldest.error) : std::string();
    }
  }

 private:
  using ProductKey = std::array<int64_t, 6>;

  id<MTLLibrary> library(DType real);

  // Commands are encoded by kind; an encoder's dispatches run one after another.
  id<MTLCommandBuffer> batch() {
    if (batch_ == nil) batch_ = [queue_ commandBuffer];
    check(batch_ != nil, "metal: the command queue gives no command buffer");
    return batch_;
  }
  id<MTLComputeCommandEncoder> compute() {
    if (compute_ == nil) {
      end_encoding();
      compute_ = [batch() computeCommandEncoderWithDispatchType:MTLDispatchTypeSerial];
    }
    return compute_;
  }
  id<MTLBlitCommandEncoder> blit() {
    if (blit_ == nil) {
      end_encoding();
      blit_ = [batch() blitCommandEncoder];
    }
    return blit_;
  }
  void end_encoding() {
    [compute_ endEncoding];
    [blit_ endEncoding];
    compute_ = nil;
    blit_ = nil;
  }

  id<MTLDevice> device_;
  id<MTLCommandQueue> queue_;
  std::map<DType, id<MTLLibrary>> libraries_;
  std::map<ProductKey, MPSMatrixMultiplication*> products_;
  id<MTLCommandBuffer> batch_ = nil;
  id<MTLComputeCommandEncoder> compute_ = nil;
  id<MTLBlitCommandEncoder> blit_ = nil;
  std::deque<id<MTLCommandBuffer>> committed_;
};

// Compiled with IEEE's arithmetic: NaN and infinities count.
id<MTLLibrary> MetalCalls::library(DType real) {
  id<MTLLibrary> __strong& library = libraries_[real];
  if (library != nil) return library;
  MTLCompileOptions* options = [MTLCompileOptions new];
  options.languageVersion = MTLLanguageVersion3_0;
  options.fastMathEnabled = NO;
  // From macOS 15 on two others replace it, and functions are the fast ones unless asked otherwise. By name: headers of
  // earlier systems do not have them.
  if ([options respondsToSelector:NSSelectorFromString(@"setMathFloatingPointFunctions:")]) {
    [options setValue:@0 forKey:@"mathMode"];                    // MTLMathModeSafe
    [options setValue:@1 forKey:@"mathFloatingPointFunctions"];  // MTLMathFloatingPointFunctionsPrecise
  }
  if (real == DType::bf16) options.preprocessorMacros = @{@"INK_REAL_BF16" : @1};
  NSError* error = nil;
  library = [device_ newLibraryWithSource:string_of(assets::metal_source()) options:options error:&error];
  check(library != nil, "metal: the kernels do not compile: {}", words_of(error));
  return library;
}

Pipeline MetalCalls::new_pipeline(const std::string& function, DType real, int threads) {
  @autoreleasepool {
    MTLComputePipelineDescriptor* descriptor = [MTLComputePipelineDescriptor new];
    descriptor.label = string_of(function);
    descriptor.computeFunction = [library(real) newFunctionWithName:string_of(function)];
    check(descriptor.computeFunction != nil, "metal: the library has no kernel {}", function);
    descriptor.maxTotalThreadsPerThreadgroup = size_of(threads);
    descriptor.threadGroupSizeIsMultipleOfThreadExecutionWidth = YES;
    NSError* error = nil;
    id<MTLComputePipelineState> state = [device_ newComputePipelineStateWithDescriptor:descriptor
                                                                               options:MTLPipelineOptionNone
                                                                            reflection:nil
                                                                                 error:&error];
    check(state != nil, "metal: kernel {}: {}", function, words_of(error));
    return {.state = keep(state),
            .simd_width = static_cast<int>(state.threadExecutionWidth),
            .most_threads = static_cast<int>(state.maxTotalThreadsPerThreadgroup),
            .shared_memory = state.staticThreadgroupMemoryLength};
  }
}

void MetalCalls::multiply(const Matrix& out, const Matrix& a, const Matrix& b, bool trans_a, bool trans_b,
                          bool accumulate) {
  @autoreleasepool {
    const auto matrix_of = [](const Matrix& m) {
      MPSMatrixDescriptor* descriptor = [MPSMatrixDescriptor matrixDescriptorWithRows:size_of(m.rows)
                                                                              columns:size_of(m.cols)
                                                                             rowBytes:size_of(m.cols) * sizeof(float)
                                                                             dataType:MPSDataTypeFloat32];
      return [[MPSMatrix alloc] initWithBuffer:buffer_of(m.buffer) offset:m.offset descriptor:descriptor];
    };
    const int64_t terms = trans_a ? a.rows : a.cols;
    MPSMatrixMultiplication* __strong& product =
        products_[{out.rows, out.cols, terms, trans_a ? 1 : 0, trans_b ? 1 : 0, accumulate ? 1 : 0}];
    if (product == nil) {
      product = [[MPSMatrixMultiplication alloc] initWithDevice:device_
                                                  transposeLeft:trans_a
                                                 transposeRight:trans_b
                                                     resultRows:size_of(out.rows)
                                                  resultColumns:size_of(out.cols)
                                                interiorColumns:size_of(terms)
                                                          alpha:1
                                                           beta:accumulate ? 1 : 0];
    }
    end_encoding();  // it brings its own encoder
    [product encodeToCommandBuffer:batch()
                        leftMatrix:matrix_of(a)
                       rightMatrix:matrix_of(b)
                      resultMatrix:matrix_of(out)];
  }
}

// The M1's and later: simd groups of 32 threads with matrix instructions, memory that the CPU shares.
bool is_supported(id<MTLDevice> device) {
  return [device supportsFamily:MTLGPUFamilyApple7] && device.hasUnifiedMemory;
}

}  // namespace

int count_gpus() {
  @autoreleasepool {
    id<MTLDevice> device = MTLCreateSystemDefaultDevice();
    return device != nil && is_supported(device) ? 1 : 0;
  }
}

std::unique_ptr<gpu::Gpu> make_metal_gpu() {
  @autoreleasepool {
    id<MTLDevice> device = MTLCreateSystemDefaultDevice();
    check(device != nil, "metal: the system shows no GPU; use --device cpu");
    check(is_supported(device), "metal: the GPU is \"{}\"; the kernels need Apple's M1 or later; use --device cpu",
          device.name.UTF8String);
    return make_metal_gpu(std::make_unique<MetalCalls>(device));
  }
}

}  // namespace ink::metal
