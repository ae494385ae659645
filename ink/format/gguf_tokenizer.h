// Tokenizers in GGUF's metadata, as llama.cpp holds them. Private to the room.
#pragma once

#include <cstdint>
#include <memory>

#include "ink/format/gguf.h"
#include "ink/text/tokenizer.h"

namespace ink {

// The keys of a tokenizer for a model of so many ids: ids beyond the tokenizer's are named [PADn]. Null: none.
void add_tokenizer(GgufMetadata& metadata, const Tokenizer* tokenizer, int64_t vocab);

// Null if the file holds none. Throws Error for one that this library cannot be, or that does not fit vocab ids.
std::shared_ptr<const Tokenizer> read_tokenizer(const GgufFile& file, int64_t vocab);

}  // namespace ink
