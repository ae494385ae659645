#!/usr/bin/env python3
"""Writes tests/fixtures/gpt2_tokens.json: texts that are hard to cut, and tiktoken's ids for them.

Development only; needs `pip install tiktoken`. The ranks are assets/gpt2.tiktoken; nothing is downloaded.
"""
import hashlib
import json
import pathlib
import random
import struct

import tiktoken
from tiktoken.load import load_tiktoken_bpe

ROOT = pathlib.Path(__file__).parent.parent
OUTPUT = ROOT / "tests/fixtures/gpt2_tokens.json"
# As GPT-2 was released; tiktoken's own pattern is a faster spelling of it.
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
BLOCK = 4096  # code points a hash

ENCODING = tiktoken.Encoding(
    "gpt2",
    pat_str=PATTERN,
    mergeable_ranks=load_tiktoken_bpe(str(ROOT / "assets/gpt2.tiktoken")),
    special_tokens={"<|endoftext|>": 50256},
)

SPACES = " \n\t\r\v\f\x85\xa0\u1680\u2000\u2003\u2007\u2028\u2029\u202f\u205f\u3000"
NOT_SPACES = "\u200b\u2060\ufeff\x1c\x1f\u180e"

TEXTS = [
    "", " ", "  ", "\n", "a", " a", "  a", "\t a", " \ta", "a ", "a  ", "a \n", "\n\n", "\n\na", " \n \n a",
    "Hello, world!", "The quick brown fox jumps over the lazy dog.", "HELLO hello HeLLo",
    "I'm you're he's they've we'll I'd can't", "I'M YOU'RE HE'S THEY'VE WE'LL I'D CAN'T", "''s 's' 'll've're 'l 'v 'r",
    "'sa 's1 's! x'smart 'tis '", "it’s don’t ‘quoted’", " 's  's\n's",
    "0 1 12 123 1234567890 3.14159 1,000,000 0x1F 1e-9", "a1b2c3 1a 2b x86_64",
    "٠١٢٣ ۴۵۶ ०१२ ໑໒ ௧௨ Ⅷ ⅷ ½ ² ₃ ① ㊿ 〇 一二三 𝟘𝟙 𐒠",
    "Все люди рождаются свободными и равными.", "人人生而自由，在尊严和权利上一律平等。",
    "すべての人間は、生まれながらにして自由であり、", "모든 인간은 태어날 때부터 자유로우며", "يولد جميع الناس أحراراً",
    "Όλοι οι άνθρωποι", "सभी मनुष्यों को गौरव", "มนุษย์ทั้งหลาย", "כל בני האדם", "ǅ ß ſ İ ı ﬁ ª º ʰ ー ゝ 々",
    "e\u0301 é o\u0308\u0304 \u0301x", "👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇩🇪 ☃️ 😀😀😀 a😀b 1😀2", "\U0001f1e6\u200d\ufe0f",
    "a\r\nb\r\n\r\nc\rd", "\tif x:\n\t\treturn  y\n", "    indented\n        more\n", "trailing   \n   leading",
    "\x00 a\x00b\x00\x00 \x01\x1b[0m\x7f", "<|endoftext|>", "a<|endoftext|>b <|endoftext|>\n", "<|endoftext", "|>",
    "!!! ??? ... --- ___ *** ### $$$ %%% &&& ((())) [[]] {{}}", " !a !1 a! 1! _a a_ -1 a-b", "http://example.org/?q=1&r=%20#top",
    "for (int i = 0; i < n; ++i) { sum += x[i] * 2; }  // why\n", "\ud7ff\ue000\uf8ff\ufffd\ufffe\uffff\U0010ffff\U000e0001",
    "".join(SPACES), "x" + SPACES + "y", NOT_SPACES, *(f"a{s}b{s}{s}c {s}d{s} e{s}" for s in SPACES + NOT_SPACES),
    "\u3000\u3000全角\u3000空白", "\xa0non\xa0\xa0breaking \xa0 x", "a" * 63, "a" * 64, "a" * 65, "ab" * 64, "é" * 100, "漢" * 60,
    " " * 63 + "x", " " * 200, "\n" * 129 + "x", "=" * 100, "1" * 100, "😀" * 40, "_-" * 70, "'" * 65, "'s" * 40,
    "antidisestablishmentarianism" * 5, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
]  # fmt: skip

ATOMS = [
    *SPACES, *"        \n\n\n", *NOT_SPACES, "'", "'s", "'t", "'re", "'ve", "'ll", "'m", "'d", "'S", "'l", "a", "the", "Hello",
    "ß", "ж", "漢字", "か", "ا", "ि", "क", "\u0301", "1", "42", "٣", "Ⅷ", "²", "😀", "👨‍👩‍👧", "!", "...", "--",
    "<|endoftext|>", "\x00", "_", "\uffff",
]  # fmt: skip


def block_text(start):
    """Every code point of a block beside a letter, a digit and a blank: tells its class and its tokens."""
    codes = (c for c in range(start, start + BLOCK) if not 0xD800 <= c < 0xE000)
    return "".join(f"a{chr(c)}1{chr(c)} {chr(c)}" for c in codes)


def main():
    random.seed(20191105)
    texts = list(TEXTS)
    for _ in range(400):
        texts.append("".join(random.choice(ATOMS) for _ in range(random.randint(2, 12))))
    cases = [{"text": text, "ids": ENCODING.encode_ordinary(text)} for text in texts]
    hashes = []
    for start in range(0, 0x110000, BLOCK):
        ids = ENCODING.encode_ordinary(block_text(start))
        hashes.append(hashlib.sha256(struct.pack(f"<{len(ids)}i", *ids)).hexdigest()[:16])
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    OUTPUT.write_text(
        f'{{"cases": [\n{lines}\n],\n"block": {BLOCK},\n"blocks": {json.dumps(hashes)}}}\n'
    )
    print(f"{OUTPUT}: {len(cases)} texts, {len(hashes)} blocks, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
