#!/usr/bin/env python3
"""Writes tests/fixtures/gpt2: a tiny GPT-2 as a Hugging Face directory, and what PyTorch computes with it.

    python3 scripts/make_gpt2_fixture.py        (needs torch; the files are committed, the tests do not run this)

expected.safetensors holds: tokens, targets (10 steps, B, T); the logits, loss and gradients ("grad." + name, Hugging
Face's layout) of the first step; losses, the loss before each of ten AdamW steps with clipping; and "init." + name, the
first and last eight numbers of GPT-2's initialisation from seed 42. The mathematics runs in double.
"""
import json
import math
import pathlib
import struct

import torch
import torch.nn.functional as F

CONTEXT, VOCAB, LAYERS, HEADS, CHANNELS = 16, 97, 2, 2, 30  # an odd head size
BATCH, STEPS = 2, 10
LR, BETAS, EPS, WEIGHT_DECAY, CLIP = 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0
FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "gpt2"


def shapes():
    """Names and shapes as Hugging Face stores them: matrices are (in, out)."""
    c = CHANNELS
    yield "wte.weight", (VOCAB, c)
    yield "wpe.weight", (CONTEXT, c)
    for layer in range(LAYERS):
        for name, shape in [
            ("ln_1.weight", (c,)), ("ln_1.bias", (c,)),
            ("attn.c_attn.weight", (c, 3 * c)), ("attn.c_attn.bias", (3 * c,)),
            ("attn.c_proj.weight", (c, c)), ("attn.c_proj.bias", (c,)),
            ("ln_2.weight", (c,)), ("ln_2.bias", (c,)),
            ("mlp.c_fc.weight", (c, 4 * c)), ("mlp.c_fc.bias", (4 * c,)),
            ("mlp.c_proj.weight", (4 * c, c)), ("mlp.c_proj.bias", (c,)),
        ]:
            yield f"h.{layer}.{name}", shape
    yield "ln_f.weight", (c,)
    yield "ln_f.bias", (c,)


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def forward(p, tokens):
    """Logits (B, T, V) of tokens (B, T)."""
    b, t = tokens.shape
    norm = lambda x, name: F.layer_norm(x, (CHANNELS,), p[name + ".weight"], p[name + ".bias"], 1e-5)
    linear = lambda x, name: x @ p[name + ".weight"] + p[name + ".bias"]
    x = p["wte.weight"][tokens] + p["wpe.weight"][:t]
    for layer in range(LAYERS):
        h = f"h.{layer}."
        q, k, v = linear(norm(x, h + "ln_1"), h + "attn.c_attn").split(CHANNELS, dim=2)
        q, k, v = (z.view(b, t, HEADS, -1).transpose(1, 2) for z in (q, k, v))
        scores = q @ k.transpose(-2, -1) / math.sqrt(CHANNELS // HEADS)
        scores = scores.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), float("-inf"))
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, CHANNELS)
        x = x + linear(y, h + "attn.c_proj")
        x = x + linear(gelu(linear(norm(x, h + "ln_2"), h + "mlp.c_fc")), h + "mlp.c_proj")
    return norm(x, "ln_f") @ p["wte.weight"].T


def loss_of(logits, targets):
    return F.cross_entropy(logits.view(-1, VOCAB), targets.reshape(-1))


def initial_numbers():
    """The ends of every tensor that GPT-2's initialisation draws, in PyTorch's order, from seed 42."""
    rng = torch.Generator().manual_seed(42)
    for name, shape in shapes():
        if len(shape) == 2:
            stored_shape = shape if name.startswith("w") else shape[::-1]  # torch.nn.Linear keeps (out, in)
            std = 0.02 / math.sqrt(2 * LAYERS) if name.endswith("c_proj.weight") else 0.02
            values = torch.empty(stored_shape).normal_(0.0, std, generator=rng).flatten()
            yield "init." + name, torch.cat([values[:8], values[-8:]])


def write_safetensors(path, tensors, metadata=None):
    header = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, tensor in tensors.items():
        raw = tensor.detach().contiguous().numpy().tobytes()
        dtype = {torch.float32: "F32", torch.int32: "I32"}[tensor.dtype]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    torch.manual_seed(1)
    weights = {}
    for name, shape in shapes():  # large enough that every part of the model matters, biases included
        weights[name] = torch.randn(shape) * (0.1 if len(shape) == 1 else 0.2)
        if "ln_" in name and name.endswith("weight"):
            weights[name] += 1
    text = torch.randint(0, 12, (STEPS, BATCH, CONTEXT + 1)) * 8  # few of the ids: there is something to learn
    tokens, targets = text[..., :-1], text[..., 1:]

    p = {name: w.double().requires_grad_() for name, w in weights.items()}
    logits = forward(p, tokens[0])
    loss_of(logits, targets[0]).backward()
    expected = {"tokens": tokens.int(), "targets": targets.int(), "logits": logits.float()}
    for name, w in p.items():
        expected["grad." + name] = w.grad.float()

    matrices = [w for w in p.values() if w.dim() == 2]
    vectors = [w for w in p.values() if w.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": WEIGHT_DECAY},
                                   {"params": vectors, "weight_decay": 0.0}], lr=LR, betas=BETAS, eps=EPS)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(forward(p, tokens[step]), targets[step])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(p.values(), CLIP)
        optimizer.step()
        losses.append(loss.item())
    expected["losses"] = torch.tensor(losses)
    expected.update(initial_numbers())

    FOLDER.mkdir(parents=True, exist_ok=True)
    write_safetensors(FOLDER / "model.safetensors", {"transformer." + n: w for n, w in weights.items()}, {"format": "pt"})
    write_safetensors(FOLDER / "expected.safetensors", expected)
    config = {"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "layer_norm_epsilon": 1e-5,
              "model_type": "gpt2", "n_ctx": CONTEXT, "n_embd": CHANNELS, "n_head": HEADS, "n_layer": LAYERS,
              "n_positions": CONTEXT, "vocab_size": VOCAB}
    (FOLDER / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"{FOLDER}: loss {losses[0]:.4f} -> {losses[-1]:.4f}")


if __name__ == "__main__":
    main()
