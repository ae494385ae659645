#!/usr/bin/env python3
"""Writes the seed corpora of the fuzz targets: small valid files of every kind and variant, and a few that are wrong
in one place. Only the standard library; inputs that fuzzing found lie beside them and stay.

    fuzz/make_corpus.py
"""
import json
import struct
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
LAYERS, CHANNELS, CONTEXT, VOCAB = 1, 2, 4, 5
CONFIG = {"model_type": "gpt2", "activation_function": "gelu_new", "n_ctx": CONTEXT, "n_positions": CONTEXT,
          "n_embd": CHANNELS, "n_head": 1, "n_inner": None, "n_layer": LAYERS, "vocab_size": VOCAB,
          "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}
ELEMENT_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "U8": 1, "BOOL": 1}


def put(target, name, *parts):
    data = b"\0".join(p.encode() if isinstance(p, str) else p for p in parts)
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def product(shape):
    n = 1
    for dim in shape:
        n *= dim
    return n


def safetensors(tensors, metadata=None, element="F32"):
    """tensors: {name: shape or (dtype, shape)}. The bytes of a file."""
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, entry in tensors.items():
        dtype, shape = entry if isinstance(entry, tuple) else (element, entry)
        size = product(shape) * ELEMENT_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes((7 * i) % 61 for i in range(size))
    return safetensors_of(header, data)


def safetensors_of(header, data):
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def gpt2_tensors(prefix="", head=False):
    c = CHANNELS
    tensors = {"wte.weight": [VOCAB, c], "wpe.weight": [CONTEXT, c]}
    for layer in range(LAYERS):
        for name, shape in {"ln_1.weight": [c], "ln_1.bias": [c], "attn.c_attn.weight": [c, 3 * c],
                            "attn.c_attn.bias": [3 * c], "attn.c_proj.weight": [c, c], "attn.c_proj.bias": [c],
                            "ln_2.weight": [c], "ln_2.bias": [c], "mlp.c_fc.weight": [c, 4 * c],
                            "mlp.c_fc.bias": [4 * c], "mlp.c_proj.weight": [4 * c, c],
                            "mlp.c_proj.bias": [c]}.items():
            tensors[f"h.{layer}.{name}"] = shape
    tensors |= {"ln_f.weight": [c], "ln_f.bias": [c]}
    tensors = {prefix + name: shape for name, shape in tensors.items()}
    return tensors | ({"lm_head.weight": [VOCAB, c]} if head else {})


def make_safetensors():
    put("safetensors", "model", safetensors(gpt2_tensors(), {"format": "pt"}))
    put("safetensors", "types", safetensors({t: (t, [2, 3]) for t in ELEMENT_BYTES}))
    put("safetensors", "ranks", safetensors({"scalar": [], "empty": [0], "deep": [1, 2, 1, 2, 1, 2]}))
    put("safetensors", "nothing", safetensors({}))
    put("safetensors", "huge_header", struct.pack("<Q", 1 << 62) + b"{}")
    for name, shape, offsets in (("huge_shape", [1 << 62, 8], [0, 8]), ("wrapped_shape", [1 << 32, 1 << 30], [0, 0]),
                                 ("huge_offset", [2], [(1 << 63) - 8, 1 << 63]), ("backwards", [2], [8, 0])):
        entry = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        put("safetensors", name, safetensors_of({"x": entry}, bytes(8)))


def make_huggingface():
    config = json.dumps(CONFIG)
    put("config", "plain", config)
    put("config", "indented", json.dumps(CONFIG | {"architectures": ["GPT2LMHeadModel"], "n_inner": 8}, indent=2))
    small = {k: CONFIG[k] for k in ("n_positions", "n_embd", "n_head", "n_layer", "vocab_size")}
    put("config", "least", json.dumps(small))
    put("config", "n_ctx_only", json.dumps({k: v for k, v in CONFIG.items() if k != "n_positions"}))
    put("config", "untied", json.dumps(CONFIG | {"tie_word_embeddings": False}))
    put("config", "large", json.dumps(CONFIG | {"n_layer": 1024, "n_embd": 65536, "vocab_size": 1 << 20}))
    for element in ("F32", "F16", "BF16"):
        put("huggingface", element.lower(), config, "", "", safetensors(gpt2_tensors(), element=element))
    put("huggingface", "prefix", config, "", "", safetensors(gpt2_tensors("transformer."), {"format": "pt"}))
    put("huggingface", "head", config, "", "", safetensors(gpt2_tensors("transformer.", head=True)))
    put("huggingface", "untied", json.dumps(CONFIG | {"tie_word_embeddings": False}), "", "",
        safetensors(gpt2_tensors(head=True)))
    masks = {"h.0.attn.bias": ("U8", [1, 1, CONTEXT, CONTEXT]), "h.0.attn.masked_bias": ("F32", [])}
    put("huggingface", "masks", config, "", "", safetensors(gpt2_tensors() | masks))
    names = list(gpt2_tensors())
    for name, parts in {"one_shard": [names], "two_shards": [names[::2], names[1::2]]}.items():
        files = [safetensors({n: gpt2_tensors()[n] for n in part}) for part in parts]
        places = {n: f"{i + 1}.safetensors" for i, part in enumerate(parts) for n in part}
        index = {"metadata": {"total_size": 1}, "weight_map": places}
        put("huggingface", name, config, json.dumps(index), str(len(files[0])), b"".join(files))


def make_completion_request():
    every = {"model": "m", "prompt": "ab", "n": 2, "best_of": 2, "max_tokens": 7, "temperature": 0.5, "top_k": 4,
             "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.2, "presence_penalty": -0.5, "frequency_penalty": 2,
             "logit_bias": {"65": 3, "66": -100}, "seed": -1, "stop": ["x", "yz"], "logprobs": 3, "echo": True,
             "suffix": None, "stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True,
             "return_token_ids": True, "user": "u"}
    put("completion_request", "every_field", json.dumps(every))
    for name, prompt in {"texts": ["a", ""], "ids": [1, 2, 255], "lists": [[1], [2, 3]], "unicode": "h\u00e9\u0000"}.items():
        put("completion_request", name, json.dumps({"prompt": prompt}))
    for name, value in {"tokenize": {"text": "ab"}, "detokenize": {"tokens": [1, 2]}, "empty": {}}.items():
        put("completion_request", name, json.dumps(value))
    put("completion_request", "deep", '{"prompt": ' + "[" * 100)


def make_llmc_model():
    for version, element in ((3, "f"), (5, "H")):
        for padded in (VOCAB, 8):
            floats = sum(product(s) for n, s in gpt2_tensors().items() if n != "wte.weight") + padded * CHANNELS
            dims = (CONTEXT, VOCAB, LAYERS, 1, CHANNELS, padded)
            header = struct.pack("<256i", 20240326, version, *dims, *[0] * 248)
            values = struct.pack(f"<{floats}{element}", *[i % 7 for i in range(floats)])
            put("llmc_model", f"v{version}_padded{padded}", header + values)
    dims = (1 << 20, 1 << 20, 1024, 1, 65536, 1 << 20)
    put("llmc_model", "large", struct.pack("<256i", 20240326, 3, *dims, *[0] * 248))


def make_shard():
    def shard(tokens, magic=20240520, version=1, count=None):
        count = len(tokens) if count is None else count
        return struct.pack("<256i", magic, version, count, *[0] * 253) + struct.pack(f"<{len(tokens)}H", *tokens)
    put("shard", "one", shard([50256]))
    put("shard", "batches", shard([i * 997 % 65536 for i in range(40)]))
    put("shard", "short", shard(range(7)))
    put("shard", "lying", shard(range(7), count=2147483647))
    put("shard", "llama3", shard(range(8), magic=20240801, version=7))
    put("shard", "text", "To be, or not to be\n")


GGUF_NAMES = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "lm_head": "output",
              "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
              "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
GGML_TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q8_0": (8, 32, 34), "Q6_K": (14, 256, 210),
              "I32": (26, 1, 4), "BF16": (30, 1, 2)}  # number, elements of a block, its bytes


def gguf_string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_value(value):
    """The type and the bytes of a value: a pair (type, bytes), or what Python has for it."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, gguf_string(value)
    elements = [gguf_value(v) for v in value]
    kind = elements[0][0] if elements else 4
    return 9, struct.pack("<IQ", kind, len(elements)) + b"".join(data for _, data in elements)


def gguf(keys, tensors, version=3, alignment=32):
    """tensors: {name: (type, dims with the fastest first)}."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for key, value in keys.items():
        kind, data = gguf_value(value)
        head += gguf_string(key) + struct.pack("<I", kind) + data
    data = b""
    for name, (kind, dims) in tensors.items():
        number, block, size = GGML_TYPES[kind]
        head += gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number, len(data))
        data += bytes(i % 5 for i in range(product(dims) // block * size))
        data += bytes(-len(data) % alignment)
    return head + bytes(-len(head) % alignment) + data


def gguf_model(matrices, vocab=VOCAB, channels=CHANNELS, context=CONTEXT, head=False, **keys):
    """A GPT-2 of one layer; matrices: the type of all matrices."""
    tensors = {}
    for name, shape in gpt2_tensors(head=head).items():
        parts = name.removeprefix("h.0.").rsplit(".", 1)
        places = {"wte.weight": [channels, vocab], "wpe.weight": [channels, context],
                  "lm_head.weight": [channels, vocab]}
        dims = places.get(name, [d * channels // CHANNELS for d in shape])
        kind = matrices if len(dims) == 2 else "F32"
        tensors[("blk.0." if name.startswith("h.") else "") + f"{GGUF_NAMES[parts[0]]}.{parts[1]}"] = (kind, dims)
    base = {"general.architecture": "gpt2", "gpt2.context_length": context, "gpt2.embedding_length": channels,
            "gpt2.block_count": 1, "gpt2.attention.head_count": 1, "gpt2.attention.layer_norm_epsilon": 1e-5}
    return gguf(base | {k.replace("__", "."): v for k, v in keys.items()}, tensors)


def make_gguf():
    for kind in ("F32", "F16", "BF16"):
        put("gguf", kind.lower(), gguf_model(kind, gpt2__vocab_size=VOCAB, gpt2__feed_forward_length=4 * CHANNELS))
    put("gguf", "q4_0", gguf_model("Q4_0", channels=32, context=1, vocab=2))
    put("gguf", "q8_0", gguf_model("Q8_0", channels=32, context=1, vocab=2))
    put("gguf", "head", gguf_model("F16", head=True))
    merges = [("a", "b"), ("ab", "ab"), ("Ġ", "t")]
    tokens = [*bpe(merges)["model"]["vocab"], "<|endoftext|>"]
    types = [(5, struct.pack("<i", t)) for t in [1] * (len(tokens) - 1) + [3, 5]]
    put("gguf", "bpe", gguf_model(
        "F16", vocab=len(tokens) + 1, tokenizer__ggml__model="gpt2", tokenizer__ggml__pre="gpt-2",
        tokenizer__ggml__tokens=tokens + ["[PAD]"], tokenizer__ggml__token_type=types,
        tokenizer__ggml__merges=[f"{left} {right}" for left, right in merges],
        tokenizer__ggml__eos_token_id=len(tokens) - 1))
    put("gguf", "char", gguf_model(
        "F32", tokenizer__ggml__model="gpt2", tokenizer__ggml__tokens=["a", "b", "Ġ", "Ã©", "ÿ"],
        tokenizer__ggml__merges=["Ã ©"], ink__tokenizer__kind="char"))
    values = {f"type.{t}": (t, struct.pack("<" + c, 1)) for t, c in enumerate("BbHhIif?")}
    values |= {f"type.{t}": (t, struct.pack("<" + c, 1)) for t, c in ((10, "Q"), (11, "q"), (12, "d"))}
    values |= {"text": "x\n", "texts": ["", "ab"], "nested": [[1, 2], [3]], "flags": [True, False], "none": []}
    put("gguf", "values", gguf(values | {"general.alignment": 8}, {"q": ("Q6_K", [256]), "i": ("I32", [1, 2, 3, 1])},
                               version=2, alignment=8))
    put("gguf", "lying_counts", b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 1 << 62))
    lie = gguf_string("k") + struct.pack("<IIQ", 9, 8, 1 << 60)
    put("gguf", "lying_array", b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + lie)


def byte_level_alphabet():
    """GPT-2's characters for the 256 bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (b for b in range(256) if b not in printable)
    table = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [table[b] for b in range(256)]


def bpe(merges, special=(), in_pairs=False):
    """A tokenizer.json of the 256 bytes, merges, and special tokens; its vocabulary and its merges."""
    tokens = byte_level_alphabet()
    for left, right in merges:
        tokens.append(left + right)
    vocab = {token: i for i, token in enumerate(tokens)}
    added = [{"id": len(vocab) + i, "content": text, "special": True} for i, text in enumerate(special)]
    lines = [[left, right] if in_pairs else f"{left} {right}" for left, right in merges]
    return {"version": "1.0", "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": bool(merges)},
            "model": {"type": "BPE", "dropout": None, "ignore_merges": False, "vocab": vocab, "merges": lines}}


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def make_tokenizers():
    end = "<|endoftext|>"
    merges = [("a", "b"), ("ab", "ab"), ("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("abab", "abab"), ("Ã", "©")]
    put("tokenizer_json", "bytes", compact(bpe([])))
    put("tokenizer_json", "bpe", compact(bpe(merges, [end])), compact({"eos_token": end}))
    put("tokenizer_json", "pairs", compact(bpe(merges, [end, "<|endoftext|><|"], in_pairs=True)),
        compact({"eos_token": {"content": "<|endoftext|><|"}}))
    whole = bpe(merges)
    whole["model"]["ignore_merges"] = True
    whole["model"]["vocab"]["abc"] = len(whole["model"]["vocab"])
    put("tokenizer_json", "ignore_merges", compact(whole))
    for name, words in {"char": "abc \n<|>éx漢😀I't", "char_bytes": ["a", "b", "<0xFF>", "<0x80>", "é"]}.items():
        char = {"added_tokens": [], "normalizer": None,
                "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated"},
                "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(words)}, "unk_token": "[UNK]"}}
        put("tokenizer_json", name, compact(char))
    put("tokenizer_json", "deep", compact(bpe([])).replace('"version":"1.0"', '"version":' + "[" * 500 + "]" * 500))
    vocab = bpe(merges)["model"]["vocab"]
    text = "".join(f"{left} {right}\n" for left, right in merges)
    put("tokenizer_vocab", "plain", compact(vocab), text)
    put("tokenizer_vocab", "end", compact(vocab | {end: len(vocab)}), "#version: 0.2\r\n" + text.replace("\n", "\r\n"))
    put("tokenizer_vocab", "bytes", compact(bpe([])["model"]["vocab"]), "")


def make_eval():
    def evals(examples, longest=None):
        parts = []
        for i, (label, *texts) in enumerate(examples):
            words = [label, len(texts) - 1] + [w for t in texts for w in (len(t), *t)]
            parts.append(struct.pack(f"<{len(words) + 3}H", 65535, 2 * len(words) + 6, i, *words))
        longest = max(map(len, parts)) if longest is None else longest
        return struct.pack("<256i", 20240522, 1, len(parts), longest, *[0] * 252) + b"".join(parts)
    question = (2, [50256, 1], [2], [3, 4], [5], [6, 7, 8])
    put("eval_file", "four_choices", evals([question, (0, [9], [1], [2], [3], [4])]))
    put("eval_file", "one_choice", evals([(0, [1], [2])]))
    put("eval_file", "lying", evals([question], longest=1 << 30))
    hellaswag = {"ind": 4, "ctx": "A man is", "label": 3, "endings": ["up.", "down.", "in.", "out."]}
    put("eval_jsonl", "hellaswag", json.dumps(hellaswag) + "\n\n" + json.dumps(hellaswag | {"label": "0"}) + "\r\n")
    put("eval_jsonl", "letters", "\ufeff" + json.dumps({"question": "\u00e9?", "choices": ["a", "b"], "answer": "B"}))
    put("eval_jsonl", "gold", compact({"query": "Q\n", "choices": ["\U0001f600", "b"], "gold": 1}))


def make_llmc_tokenizer():
    def tokens(texts, end=0xFFFFFFFF, version=2, count=None):
        texts = [t if isinstance(t, bytes) else t.encode() for t in texts]
        header = (20240328, version, len(texts) if count is None else count, end)
        return struct.pack("<256I", *header, *[0] * 252) + b"".join(bytes([len(t)]) + t for t in texts)
    all_bytes = [bytes([b]) for b in range(256)]
    put("llmc_tokenizer", "bpe", tokens([*all_bytes, "ab", "abab", " t", "he", " the", "<|endoftext|>"], end=261))
    put("llmc_tokenizer", "bytes", tokens(all_bytes))
    put("llmc_tokenizer", "char", tokens(["a", "b", "é", "漢", b"\xff", " "]))
    put("llmc_tokenizer", "lying_count", tokens(["a"], count=1 << 31))
    put("llmc_tokenizer", "version_1", tokens(all_bytes, version=1, count=50257))


def make_option_file():
    put("option_file", "run", 'command = "train"\nmodel = "gpt2"\nlr = 6e-4\nsteps = 1_000\nquiet = true\n'
        'data = ["a.bin", "b.bin"]\n# a comment\n[sample]\nprompt = """\nO Romeo,\\n"""\nseed = 0x2a\n')
    put("option_file", "dotted", "a.b = 1\n'quoted name' = 'literal'\n\"escaped\\u00e9\\n\" = [ 1, 2.5, ]\n[x]\ny = \"\"\n")
    put("option_file", "numbers", "a = inf\nb = -nan\nc = 0b11\nd = -9223372036854775808\ne = 1e308\nf = 0o17\n")
    put("option_file", "not_options", "z = { w = 1979-05-27T07:32:00Z }\n[[t]]\n[[t]]\n")


def make_trainer():
    def window(n):
        return {"window": [1.5] * n, "next": n % 128, "sum": 1.5 * n, "sum_squares": 2.25 * n}
    tensors = gpt2_tensors()
    # The model's state in memory order: matrices are (out, in) there, the embedding has 128 rows.
    state = {}
    for name, shape in tensors.items():
        in_memory = [128, CHANNELS] if name == "wte.weight" else shape[::-1] if name.startswith("h.") else shape
        state["m." + name] = in_memory
    files = {name: "" for name in ("config.json", "model.safetensors", "trainer.safetensors")}
    for order, samples in (("sequential", 0), ("batches", 15), ("sequences", 15)):
        loader = {"order": order, "shard": 0, "sample": 3, "epoch": 2, "offset": 0, "tokens": 32, "data": "",
                  "sample_tokens": 2, "rng": ""}
        j = {"version": 1, "step": 3, "optimizer": "adamw", "loader": loader, "loss_outliers": window(3),
             "norm_outliers": window(128), "smoothed_loss": 2.5, "files": files}
        orders = {"loader.shard_order": ("I32", [1]), "loader.sample_order": ("I32", [samples])}
        data = safetensors(state | (orders if samples else {}))
        if samples:  # the last bytes are the orders: a shard, then the samples in some order
            values = [0] + [i * 7 % samples for i in range(samples)]
            data = data[:-4 * len(values)] + struct.pack(f"<{len(values)}i", *values)
        put("trainer", order, json.dumps(j), data)


if __name__ == "__main__":
    make_safetensors()
    make_huggingface()
    make_completion_request()
    make_llmc_model()
    make_shard()
    make_gguf()
    make_tokenizers()
    make_llmc_tokenizer()
    make_eval()
    make_option_file()
    make_trainer()
