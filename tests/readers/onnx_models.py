"""onnx checks what ink export writes, and onnxruntime runs it: logits equal to ours, batched, cached and padded."""

import contextlib
import io
import itertools
import json
import os
import pathlib
import re
import tempfile

from common import ink, print_logits, require, train

numpy, onnx, runtime, safetensors, _ = require("numpy", "onnx", "onnxruntime", "safetensors.numpy", "tokenizers")

TOLERANCE = 1e-4
VOCAB, CONTEXT, LAYERS, HEADS, CHANNELS = 97, 24, 3, 4, 20
HEAD_SIZE = CHANNELS // HEADS
GENERATOR = numpy.random.default_rng(1)


def random_model(folder, tied):
    """A model with heads of an odd size and weights so large that attention is far from uniform."""
    folder.mkdir()
    config = {"model_type": "gpt2", "n_positions": CONTEXT, "vocab_size": VOCAB, "n_layer": LAYERS, "n_head": HEADS,
              "n_embd": CHANNELS, "layer_norm_epsilon": 1e-3, "tie_word_embeddings": tied}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"wte.weight": (VOCAB, CHANNELS), "wpe.weight": (CONTEXT, CHANNELS), "ln_f.weight": (CHANNELS,),
              "ln_f.bias": (CHANNELS,)}
    if not tied:
        shapes["lm_head.weight"] = (VOCAB, CHANNELS)
    for layer, (name, rows, columns) in itertools.product(range(LAYERS), (
            ("attn.c_attn", 1, 3), ("attn.c_proj", 1, 1), ("mlp.c_fc", 1, 4), ("mlp.c_proj", 4, 1))):
        shapes[f"h.{layer}.{name}.weight"] = (rows * CHANNELS, columns * CHANNELS)
        shapes[f"h.{layer}.{name}.bias"] = (columns * CHANNELS,)
        for norm, kind in itertools.product(("ln_1", "ln_2"), ("weight", "bias")):
            shapes[f"h.{layer}.{norm}.{kind}"] = (CHANNELS,)
    weights = {name: (GENERATOR.normal(size=shape) * 0.3 + (".weight" in name and len(shape) == 1)).astype("float32")
               for name, shape in shapes.items()}
    safetensors.save_file(weights, folder / "model.safetensors")
    return folder


def half_tolerance(weights):
    """Of a logit of an f16 model: the product of the final norm's output with a row of the head. Rounding to f16 moves
    a number by 2^-11 of it at most. There are 14 roundings in a layer (two norms, four weights, four products, q, the
    softmax, the mixed values, GELU), and the two embeddings. Each moves the output by about that share of its length;
    in directions that have nothing to do with each other, so that together they move it by the root of their number."""
    head = weights.get("lm_head.weight", weights["wte.weight"])
    output = numpy.abs(weights["ln_f.weight"]).max() * CHANNELS**0.5 + numpy.linalg.norm(weights["ln_f.bias"])
    return (14 * LAYERS + 2) ** 0.5 * 2**-11 * output * numpy.linalg.norm(head, axis=1).max()


def export(model, out, *options):
    ink("export", model, out, *options)
    return out if out.suffix == ".onnx" else out / "model.onnx"


def check(path, dtype, external):
    """onnx's own checks, of the file and of its shapes; and that the weights are where they should be."""
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path), load_external_data=False)
    inferred = onnx.shape_inference.infer_shapes(onnx.load(str(path)), True, strict_mode=True, data_prop=True)
    assert inferred.graph.output[0] == model.graph.output[0], path
    assert path.with_name(path.name + ".data").exists() == external, path
    large = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert bool(large) == external, path
    matrices = {t.data_type for t in model.graph.initializer if t.name.endswith("c_fc.weight")}
    assert matrices == {onnx.TensorProto.FLOAT16 if dtype == "f16" else onnx.TensorProto.FLOAT}, path


def session(path, **options):
    choices = runtime.SessionOptions()
    choices.intra_op_num_threads = 1
    choices.log_severity_level = 4  # what is expected to fail need not be told
    for name, value in options.items():
        setattr(choices, name, value)
    return runtime.InferenceSession(str(path), choices, providers=["CPUExecutionProvider"])


def expect_close(theirs, ours, tolerance, what):
    assert theirs.dtype == numpy.float32, what
    assert theirs.shape == ours.shape, f"{what}: {theirs.shape}, {ours.shape} expected"
    error = numpy.abs(theirs - ours).max()
    assert error < tolerance, f"{what}: {error}, {tolerance} allowed"


class Cached:
    """A model with key-value inputs and what it remembers."""

    def __init__(self, path, batch):
        self.session = session(path)
        kinds = {"tensor(float)": numpy.float32, "tensor(float16)": numpy.float16}
        self.past = {i.name: numpy.zeros((batch, HEADS, 0, HEAD_SIZE), kinds[i.type])
                     for i in self.session.get_inputs() if i.name.startswith("past_key_values.")}
        assert len(self.past) == 2 * LAYERS

    def __call__(self, ids, mask, positions):
        logits, *present = self.session.run(
            None, {"input_ids": ids, "attention_mask": mask, "position_ids": positions, **self.past})
        self.past = dict(zip(self.past, present))
        return logits


def expect_plain(path, model, tolerance, **options):
    """Any batch size and length in one session, and no length beyond the context."""
    plain = session(path, **options)
    for batch, length in ((1, 1), (3, 7), (2, CONTEXT), (1, 2)):
        ids = GENERATOR.integers(0, VOCAB, size=(batch, length))
        ours = numpy.stack(print_logits(model, ids.tolist(), VOCAB))
        expect_close(plain.run(None, {"input_ids": ids})[0], ours, tolerance, f"{path.name}, {batch} x {length}")
    try:
        plain.run(None, {"input_ids": numpy.zeros((1, CONTEXT + 1), dtype=numpy.int64)})
    except Exception as error:  # pylint: disable=broad-except
        assert "out of" in str(error), error
    else:
        raise AssertionError(f"{path.name}: took more than the context")


def expect_cached(path, model, tolerance):
    """A prompt in one call and then token by token, and in pieces: as if at once."""
    ids = GENERATOR.integers(0, VOCAB, size=(2, CONTEXT))
    ours = numpy.stack(print_logits(model, ids.tolist(), VOCAB))
    for pieces in ((CONTEXT,), (CONTEXT - 6, *[1] * 6), (1, 3, CONTEXT - 5, 1)):
        run, place, logits = Cached(path, 2), 0, []
        for size in pieces:
            positions = numpy.tile(numpy.arange(place, place + size), (2, 1))
            place += size
            logits.append(run(ids[:, place - size : place], numpy.ones((2, place), dtype=numpy.int64), positions))
        expect_close(numpy.concatenate(logits, axis=1), ours, tolerance, f"{path.name}, in pieces of {pieces}")


def expect_padded(path, model, tolerance):
    """Sequences of different lengths, padded on the left; then both go on."""
    lengths, more = (4, 11), 3
    sequences = [GENERATOR.integers(0, VOCAB, size=n + more).tolist() for n in lengths]
    ours = print_logits(model, sequences, VOCAB)
    width = max(lengths)
    pads = [width - n for n in lengths]
    ids = numpy.array([[VOCAB - 1] * pad + sequence for pad, sequence in zip(pads, sequences)])
    mask = numpy.array([[0] * pad + [1] * (width + more - pad) for pad in pads])
    positions = numpy.maximum(mask.cumsum(axis=1) - 1, 0)
    run = Cached(path, 2)
    logits = [run(ids[:, :width], mask[:, :width], positions[:, :width])]
    for t in range(width, width + more):
        logits.append(run(ids[:, t : t + 1], mask[:, : t + 1], positions[:, t : t + 1]))
    logits = numpy.concatenate(logits, axis=1)
    assert numpy.isfinite(logits).all(), path
    for row, pad in enumerate(pads):
        expect_close(logits[row, pad:], ours[row], tolerance, f"{path.name}, padded by {pad}")
    # A test of the test: without the mask, or with the places as positions, the padding would show.
    unmasked = Cached(path, 2)(ids[:, :width], numpy.ones_like(mask[:, :width]), positions[:, :width])
    assert numpy.abs(unmasked[0, pads[0] :] - ours[0][: lengths[0]]).max() > tolerance, path
    misplaced = Cached(path, 2)(ids[:, :width], mask[:, :width], numpy.tile(numpy.arange(width), (2, 1)))
    assert numpy.abs(misplaced[0, pads[0] :] - ours[0][: lengths[0]]).max() > tolerance, path


def expect_window(path, model, tolerance):
    """Shapes that never change: a window whose first places are empty and masked, and move out as tokens come in."""
    ids = GENERATOR.integers(0, VOCAB, size=CONTEXT)
    ours = print_logits(model, [ids.tolist()], VOCAB)[0]
    run = Cached(path, 1)
    run.past = {name: numpy.zeros((1, HEADS, CONTEXT - 1, HEAD_SIZE), p.dtype) for name, p in run.past.items()}
    for t in range(CONTEXT):
        mask = (numpy.arange(CONTEXT) >= CONTEXT - 1 - t).astype(numpy.int64)[None]
        logits = run(ids[None, t : t + 1], mask, numpy.array([[t]]))
        run.past = {name: p[:, :, 1:] for name, p in run.past.items()}
        expect_close(logits[0], ours[t : t + 1], tolerance, f"{path.name}, window, token {t}")


def expect_all_forms(model, folder):
    weights = safetensors.load_file(model / "model.safetensors")
    choice = (False, True)
    for dtype, cached, external, whole in itertools.product(("f32", "f16"), choice, choice, choice):
        options = ["--dtype", dtype, *["--kv-cache"] * cached, *["--external-data"] * external, *["--onnx"] * whole]
        name = "-".join([model.name, *options]).replace("--", "")
        path = export(model, folder / (name if whole else name + ".onnx"), *options)
        check(path, dtype, external)
        tolerance = TOLERANCE if dtype == "f32" else half_tolerance(weights)
        if whole:  # the same file as without a folder
            alone = folder / (name.removesuffix("-onnx") + ".onnx")
            assert external or path.read_bytes() == alone.read_bytes(), path
            assert json.loads((path.parent / "config.json").read_text())["vocab_size"] == VOCAB
        elif cached:
            expect_cached(path, model, tolerance)
            expect_padded(path, model, tolerance)
            expect_window(path, model, tolerance)
        else:
            expect_plain(path, model, tolerance)
    level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    expect_plain(folder / f"{model.name}-dtype-f32.onnx", model, TOLERANCE, graph_optimization_level=level)


def expect_documented(folder, program):
    """docs/formats.md's program, as it stands there, continues a prompt as ink does."""
    checkpoint = train(folder, "--tokenizer", "gpt2", "--steps", 60, "--lr", 3e-3)
    export(checkpoint, folder / "my-onnx", "--onnx", "--kv-cache")
    theirs, before = io.StringIO(), os.getcwd()
    try:
        os.chdir(folder)
        with contextlib.redirect_stdout(theirs):
            exec(compile(program, "docs/formats.md", "exec"), {})
    finally:
        os.chdir(before)
    ours = ink("sample", "--model", checkpoint, "--prompt", "It was", "--temperature", 0, "--max-tokens", 20)
    assert theirs.getvalue().strip() == ours.strip(), f"{theirs.getvalue()!r} and {ours!r}"


with tempfile.TemporaryDirectory() as name:
    place = pathlib.Path(name)
    for tied in (True, False):
        expect_all_forms(random_model(place / ("tied" if tied else "untied"), tied), place)
    # Matrices as (out, in), and weights that were f16 before.
    ink("quantize", place / "untied", place / "half.gguf", "--type", "f16")
    ink("convert", place / "half.gguf", place / "half-hf")
    ink("convert", place / "half.gguf", place / "half.onnx", "--dtype", "f32")
    expect_plain(place / "half.onnx", place / "half-hf", TOLERANCE)
    text = (pathlib.Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    section = text[text.index("## ONNX models") :]
    (place / "documented").mkdir()
    expect_documented(place / "documented", re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1))
