// By POSIX's ucontext, which Linux and macOS have; macOS wants to be told that the program knows how old it is.
#ifdef __APPLE__
#define _XOPEN_SOURCE 600
#define _DARWIN_C_SOURCE
#pragma clang diagnostic ignored "-Wdeprecated-declarations"
#endif
#include "ink/gpu/emu/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "ink/base/check.h"

#ifdef INK_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace ink::emu {

struct Fiber::Impl {
  ucontext_t inside{}, outside{};
  std::byte* memory = nullptr;  // a page that nothing may touch, then the stack
  size_t guard = 0, bytes = 0;
  void (*entry)(void*) = nullptr;
  void* argument = nullptr;
  bool done = true;
  // AddressSanitizer's records of the two stacks.
  void* inside_fake = nullptr;
  void* outside_fake = nullptr;
  const void* outside_stack = nullptr;
  size_t outside_bytes = 0;

  void entered() {
#ifdef INK_ASAN
    __sanitizer_finish_switch_fiber(inside_fake, &outside_stack, &outside_bytes);
#endif
  }
  void leave(bool for_good) {
#ifdef INK_ASAN
    __sanitizer_start_switch_fiber(for_good ? nullptr : &inside_fake, outside_stack, outside_bytes);
#endif
    if (for_good) {
      ::setcontext(&outside);
    } else {
      ::swapcontext(&inside, &outside);
      entered();
    }
  }

  // makecontext passes ints: the address comes in two.
  static void run(unsigned high, unsigned low) {
    const uintptr_t address = static_cast<uintptr_t>(high) << 32 | low;
    auto* impl = reinterpret_cast<Impl*>(address);  // NOLINT(performance-no-int-to-ptr): there is no other way in
    impl->entered();
    impl->entry(impl->argument);
    impl->done = true;
    impl->leave(true);
  }
};

Fiber::Fiber(size_t stack_bytes) : impl_(std::make_unique<Impl>()) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  impl_->guard = page;
  impl_->bytes = (stack_bytes + page - 1) / page * page;
  void* memory = ::mmap(nullptr, page + impl_->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(memory != MAP_FAILED, "cannot allocate the stack of an emulated thread: {}", std::strerror(errno));
  impl_->memory = static_cast<std::byte*>(memory);
  ::mprotect(memory, page, PROT_NONE);
}

Fiber::~Fiber() { ::munmap(impl_->memory, impl_->guard + impl_->bytes); }

void Fiber::start(void (*entry)(void*), void* argument) {
  impl_->entry = entry;
  impl_->argument = argument;
  impl_->done = false;
  impl_->inside_fake = nullptr;
  ::getcontext(&impl_->inside);
  impl_->inside.uc_stack.ss_sp = impl_->memory + impl_->guard;
  impl_->inside.uc_stack.ss_size = impl_->bytes;
  impl_->inside.uc_link = nullptr;
  const auto address = reinterpret_cast<uintptr_t>(impl_.get());
  ::makecontext(&impl_->inside, reinterpret_cast<void (*)()>(&Impl::run), 2, static_cast<unsigned>(address >> 32),
                static_cast<unsigned>(address));
}

void Fiber::resume() {
#ifdef INK_ASAN
  __sanitizer_start_switch_fiber(&impl_->outside_fake, impl_->memory + impl_->guard, impl_->bytes);
#endif
  ::swapcontext(&impl_->outside, &impl_->inside);
#ifdef INK_ASAN
  __sanitizer_finish_switch_fiber(impl_->outside_fake, nullptr, nullptr);
#endif
}

void Fiber::yield() { impl_->leave(false); }

}  // namespace ink::emu
