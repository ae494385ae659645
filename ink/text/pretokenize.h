// GPT-2's pre-tokenizer: cuts text into the pieces that byte-pair encoding treats one by one.
//
// The pattern, first alternative that matches, as tiktoken runs it:
//   '(?:[sdmt]|ll|ve|re) | ?\p{L}+ | ?\p{N}+ | ?[^\s\p{L}\p{N}]+ | \s+(?!\S) | \s+
// A byte that is not part of valid UTF-8 counts as a symbol, so that any bytes can be cut.
#pragma once

#include <cstddef>
#include <string_view>

namespace ink {

// Where the piece that starts at text[begin] ends; begin < text.size() is the start of a piece.
size_t piece_end(std::string_view text, size_t begin);

// The largest offset in (0, min(limit + 1, text.size())) where the pattern cuts whatever stands further left or right
// (more text after its end included): both sides cut into the same pieces as the whole. 0 if there is none.
size_t safe_piece_cut(std::string_view text, size_t limit);

}  // namespace ink
