"""transformers reads what ink train writes, and ink reads what transformers saves: equal logits and ids."""

import json
import pathlib
import tempfile

from common import TEXT, ink, print_logits, require, train

numpy, torch, transformers = require("numpy", "torch", "transformers")
try:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, GPT2Model
except Exception as error:  # transformers without a torch that is new enough for it
    require(f"transformers with torch ({error})")

TOLERANCE = 1e-4


def their_logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


def expect_equal_logits(folder, model, vocab, what):
    generator = numpy.random.default_rng(1)
    sequences = [generator.integers(0, vocab, size=n).tolist() for n in (1, 7, 20)]
    for ids, ours in zip(sequences, print_logits(folder, sequences, vocab)):
        theirs = their_logits(model, ids)
        assert numpy.abs(ours - theirs).max() < TOLERANCE, f"{what}: {numpy.abs(ours - theirs).max()}"


def trained(folder):
    """ink train, then AutoModelForCausalLM and AutoTokenizer."""
    for name in ("char", "byte", "gpt2"):
        place = folder / name
        place.mkdir()
        checkpoint = train(place, "--tokenizer", name)
        model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        expect_equal_logits(checkpoint, model, model.config.vocab_size, f"ink train, {name}")
        text_file = place / "line.txt"
        text_file.write_text(TEXT, encoding="utf-8")
        ours = list(map(int, ink("tokenizer", "encode", "--tokenizer", checkpoint, text_file).split()))
        theirs = tokenizer(TEXT)["input_ids"]
        assert ours == theirs, f"{name}: {ours} and {theirs}"
        assert tokenizer.decode(theirs) == TEXT, name
        half = place / "half"
        ink("convert", checkpoint, half, "--dtype", "bf16")
        model = AutoModelForCausalLM.from_pretrained(half).float().eval()
        expect_equal_logits(half, model, model.config.vocab_size, f"ink convert --dtype bf16, {name}")


def saved(folder):
    """save_pretrained in all its forms, then ink."""
    torch.manual_seed(1)

    def config(**more):
        return GPT2Config(vocab_size=97, n_positions=24, n_embd=20, n_layer=2, n_head=4, resid_pdrop=0, embd_pdrop=0,
                          attn_pdrop=0, initializer_range=0.2, bos_token_id=0, eos_token_id=0, **more)

    def check(what, model, **how):
        place = folder / what
        model.save_pretrained(place, safe_serialization=True, **how)
        reference = GPT2LMHeadModel(model.config).eval()
        if isinstance(model, GPT2LMHeadModel):
            reference.load_state_dict(model.state_dict())
        else:
            reference.transformer.load_state_dict(model.state_dict())
            reference.tie_weights()
        expect_equal_logits(place, reference.float().eval(), 97, what)
        return place

    check("whole", GPT2LMHeadModel(config()))
    shards = check("shards", GPT2LMHeadModel(config()), max_shard_size="20KB")
    assert len(list(shards.glob("*.safetensors"))) > 2
    check("half", GPT2LMHeadModel(config()).half())
    check("bfloat16", GPT2LMHeadModel(config()).bfloat16())
    check("half shards", GPT2LMHeadModel(config()).half(), max_shard_size="20KB")
    check("base", GPT2Model(config()))
    untied = check("untied", GPT2LMHeadModel(config(tie_word_embeddings=False)))
    assert json.loads((untied / "config.json").read_text())["tie_word_embeddings"] is False
    check("inner", GPT2LMHeadModel(config(n_inner=80)))
    check("epsilon", GPT2LMHeadModel(config(layer_norm_epsilon=1e-3)))

    # And back: what ink writes of an untied model.
    again = folder / "untied again"
    ink("convert", untied, again)
    expect_equal_logits(again, AutoModelForCausalLM.from_pretrained(again).eval(), 97, "untied again")


with tempfile.TemporaryDirectory() as name:
    trained(pathlib.Path(name))
    saved(pathlib.Path(name))
