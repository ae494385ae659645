"""The gguf package reads what ink writes: names, types, shapes, values, tokenizer; its blocks are our blocks."""

import pathlib
import tempfile

from common import ink, require, train

numpy, gguf, quants, safetensors = require("numpy", "gguf", "gguf.quants", "safetensors.numpy")

NAMES = {"attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_norm": "ln_2",
         "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}


def source_of(name):
    """The safetensors name of a GGUF tensor, and whether that file holds it transposed."""
    parts = name.split(".")
    if parts[0] == "blk":
        matrix = parts[2] not in ("attn_norm", "ffn_norm") and parts[3] == "weight"
        return f"transformer.h.{parts[1]}.{NAMES[parts[2]]}.{parts[3]}", matrix
    top = {"token_embd": "wte", "position_embd": "wpe", "output_norm": "ln_f"}[parts[0]]
    return f"transformer.{top}.{parts[1]}", False


def expect_tensors(path, weights, matrices, embedding):
    tensors = {t.name: t for t in gguf.GGUFReader(path).tensors}
    assert len(tensors) == len(weights), f"{len(tensors)} tensors, {len(weights)} expected"
    for name, tensor in tensors.items():
        source, transposed = source_of(name)
        values = weights[source].T if transposed else weights[source]
        kind = embedding if name == "token_embd.weight" else matrices if transposed else "F32"
        assert tensor.tensor_type.name == kind, f"{name}: {tensor.tensor_type.name}, {kind} expected"
        assert list(tensor.shape) == list(reversed(values.shape)), f"{name}: {tensor.shape}"
        expected = quants.quantize(numpy.ascontiguousarray(values), tensor.tensor_type)
        actual = numpy.ascontiguousarray(tensor.data).view(numpy.uint8).ravel()
        assert numpy.array_equal(actual, numpy.ascontiguousarray(expected).view(numpy.uint8).ravel()), name


def expect_tokenizer(path, checkpoint):
    import json

    def text(name):
        return bytes(reader.fields[name].parts[-1]).decode()

    reader = gguf.GGUFReader(path)
    assert text("general.architecture") == "gpt2"
    assert text("tokenizer.ggml.model") == "gpt2" and text("tokenizer.ggml.pre") == "gpt-2"
    field = reader.fields["tokenizer.ggml.tokens"]
    tokens = [bytes(field.parts[i]).decode() for i in field.data]
    vocab = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert [tokens[i] for i in vocab.values()] == list(vocab)
    merges = [bytes(reader.fields["tokenizer.ggml.merges"].parts[i]).decode()
              for i in reader.fields["tokenizer.ggml.merges"].data]
    assert merges == (checkpoint / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / "byte").mkdir()
    checkpoint = train(folder / "byte", "--tokenizer", "byte")
    weights = safetensors.load_file(checkpoint / "model.safetensors")
    for kind, embedding in (("f32", "F32"), ("f16", "F16"), ("bf16", "BF16"), ("q8_0", "Q8_0"), ("q4_0", "Q8_0")):
        path = folder / f"{kind}.gguf"
        ink("quantize", checkpoint, path, "--type", kind)
        expect_tensors(path, weights, kind.upper(), embedding)
    (folder / "gpt2").mkdir()
    checkpoint = train(folder / "gpt2", "--tokenizer", "gpt2")
    ink("convert", checkpoint, folder / "gpt2.gguf")
    expect_tokenizer(folder / "gpt2.gguf", checkpoint)
