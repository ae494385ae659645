#!/usr/bin/env python3
"""Writes ink/text/unicode_tables.inc: the class (letter, number, space, other) of every code point.

Development only; needs `pip install tiktoken`. The classes are asked of tiktoken's own regular expression engine, one
code point at a time, so that the pre-tokenizer of ink/text agrees with it for all of Unicode.
"""
import pathlib
import sys

import tiktoken

OUTPUT = pathlib.Path(__file__).parent.parent / "ink/text/unicode_tables.inc"
BLOCK = 128  # code points a block; 4 classes, 2 bits each
CLASSES = {1: r"\p{L}", 2: r"\p{N}", 3: r"\s"}  # 0: everything else; as in ink/text/unicode.h


def matching(pattern):
    """The set of code points that match. What matches nothing yields no token, so an encoding over bytes tells."""
    ranks = {bytes([b]): b for b in range(256)}
    encoding = tiktoken.Encoding("probe", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    found = set()
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue  # surrogates are no characters
        if encoding.encode_ordinary(chr(code)):
            found.add(code)
    return found


def main():
    sets = {number: matching(pattern) for number, pattern in CLASSES.items()}
    classes = bytearray(0x110000)
    for number, codes in sets.items():
        for code in codes:
            assert classes[code] == 0, hex(code)
            classes[code] = number
    end = (max(i for i, c in enumerate(classes) if c) // BLOCK + 1) * BLOCK
    blocks, index = [], []
    for start in range(0, end, BLOCK):
        block = classes[start : start + BLOCK]
        packed = bytes(sum(block[i + j] << (2 * j) for j in range(4)) for i in range(0, BLOCK, 4))
        if packed not in blocks:
            blocks.append(packed)
        index.append(blocks.index(packed))
    assert len(blocks) <= 256
    lines = [
        "// Written by scripts/make_unicode_tables.py; do not edit.",
        f"// tiktoken {tiktoken.__version__}: "
        + ", ".join(f"{len(sets[n])} of {p}" for n, p in CLASSES.items()),
        f"constexpr uint32_t kBlockSize = {BLOCK};",
        f"constexpr uint32_t kClassifiedEnd = 0x{end:x};  // from here on every code point is a symbol",
        f"constexpr uint8_t kBlockOf[{len(index)}] = {{",
        *rows(index),
        "};",
        f"constexpr uint8_t kBlocks[{len(blocks)}][{BLOCK // 4}] = {{  // 2 bits a code point, the lowest first",
    ]
    for block in blocks:
        lines += ["    {" + ", ".join(str(b) for b in block) + "},"]
    lines += ["};", ""]
    OUTPUT.write_text("\n".join(lines))
    print(f"{OUTPUT}: {len(index)} blocks, {len(blocks)} distinct", file=sys.stderr)


def rows(numbers, width=110):
    line = "   "
    for number in numbers:
        if len(line) + 5 > width:
            yield line
            line = "   "
        line += f" {number},"
    yield line


if __name__ == "__main__":
    main()
