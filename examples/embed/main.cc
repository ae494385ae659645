// Counts the GPT-2 tokens of standard input: how many a text will cost before it is sent or trained on.
#include <cstdint>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "ink/text/tokenizer.h"

int main() {
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  std::vector<int32_t> ids;
  ink::make_gpt2_tokenizer()->encode(text, ids);
  std::cout << ids.size() << " tokens, " << text.size() << " bytes\n";
}
