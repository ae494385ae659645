// Which vector instructions the cpu device uses: the best that the machine has, or worse ones on request, to compare.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ink {

// Those that this build has code for and this machine has, best first: "avx3", "avx2", "sse4".
std::vector<std::string> instruction_sets();

// From now on the kernels of this process use no better one than that. To be called before any Ops is made; matrix
// libraries have switches of their own. Throws UsageError for a name that instruction_sets() does not hold.
void limit_instruction_set(std::string_view name);

}  // namespace ink
