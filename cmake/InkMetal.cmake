# The metal device: INK_METAL says whether it is built, by default on Apple's systems.
option(INK_METAL "The device of Apple's GPUs" ${APPLE})
include(MetalSource)
if(INK_METAL)
  enable_language(OBJCXX)
endif()
