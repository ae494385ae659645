# The cuda device: INK_CUDA says whether it is built, by default where nvcc is found. What it needs of CUDA is the
# compiler, the runtime, which is linked statically, and cuBLASLt.
if(NOT DEFINED INK_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(found ON)
  else()
    set(found OFF)
  endif()
endif()
option(INK_CUDA "The device of NVIDIA's GPUs; needs nvcc" ${found})
if(NOT INK_CUDA)
  return()
endif()

# Ampere and Hopper, and code for their successors to compile when they first see it.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
endif()
if(INK_CCACHE_PROGRAM)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${INK_CCACHE_PROGRAM})
endif()
enable_language(CUDA)
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 knows no option for it
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
find_package(CUDAToolkit REQUIRED)
if(NOT TARGET CUDA::cublasLt OR NOT TARGET CUDA::cudart_static)
  message(FATAL_ERROR "INK_CUDA is on, but CUDA's toolkit lacks cuBLASLt or the static runtime; "
    "install libcublas-dev and cuda-cudart-dev of its version, or configure with -DINK_CUDA=OFF")
endif()
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)  # cuBLASLt is where the toolkit is, seldom where the system looks
