// What Metal would execute of a dispatch: the function's name, what is bound, the grid.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ink/gpu/emu/emulator.h"

namespace ink::metal {

// A buffer from its offset on, or bytes.
struct Binding {
  std::byte* data = nullptr;
  size_t bytes = 0;
  std::vector<std::byte> args;
};

struct Dispatch {
  std::string function;
  std::vector<Binding> bindings;
  gpu::Grid grid;
  int threads = 0;
};

bool has_f32(std::string_view function);
bool has_bf16(std::string_view function);
void run_f32(emu::Emulator& emulator, const Dispatch& dispatch);
void run_bf16(emu::Emulator& emulator, const Dispatch& dispatch);

}  // namespace ink::metal
