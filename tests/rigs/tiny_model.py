"""A language model of one random layer and 273 tokens, as a GGUF file that llama.cpp loads in a moment.

What it says is noise, in small letters: it never ends by itself, and never stops inside a character (llama.cpp's stream
in Anthropic's shape then begins without its first event). What matters is that a real server takes real prompts apart
with a real byte-pair vocabulary and a real chat template, and reports what it counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

MERGES: Final = ("h e", "he l", "hel l", "hell o", "t h", "th e", "i n", "in g", "a n", "an d", "t o", "o f")
CONTROLS: Final = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|tool|>")
TEMPLATE: Final = (
    "{%- if tools %}<|system|>{% for tool in tools %}{{ tool | tojson }}{% endfor %}<|end|>{% endif -%}"
    "{%- for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{%- endfor %}"
    "{%- if add_generation_prompt %}<|assistant|>{%- endif %}"
)
_WIDTH: Final = 32
_HIDDEN: Final = 64
_HEADS: Final = 2


def byte_letters() -> dict[int, str]:
    """The letter that stands for each byte in a byte-level vocabulary: itself if printable, else one from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(others)}


def write_model(path: Path, *, seed: int = 7) -> None:
    """Write the model. Needs gguf (with numpy); the same seed gives the same file."""
    import numpy
    from gguf import GGUFWriter, TokenType

    letters = byte_letters()
    tokens = [letters[byte] for byte in range(256)] + [merge.replace(" ", "") for merge in MERGES]
    kinds = [TokenType.NORMAL] * len(tokens) + [TokenType.CONTROL] * len(CONTROLS)
    tokens += CONTROLS

    writer = GGUFWriter(path, "llama")
    writer.add_context_length(8192)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(list(MERGES))
    writer.add_eos_token_id(tokens.index("<|end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    random = numpy.random.default_rng(seed)

    def noise(name: str, *shape: int) -> None:
        writer.add_tensor(name, (random.standard_normal(shape) * 0.2).astype(numpy.float32))

    noise("token_embd.weight", len(tokens), _WIDTH)
    letter = numpy.array([token.isascii() and token.isalpha() and token.islower() for token in tokens])
    said = random.standard_normal((len(tokens), _WIDTH)) * numpy.where(letter, 4.0, 0.0)[:, None]
    writer.add_tensor("output.weight", said.astype(numpy.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", numpy.ones(_WIDTH, numpy.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        noise(f"blk.0.{name}.weight", _WIDTH, _WIDTH)
    noise("blk.0.ffn_gate.weight", _HIDDEN, _WIDTH)
    noise("blk.0.ffn_up.weight", _HIDDEN, _WIDTH)
    noise("blk.0.ffn_down.weight", _WIDTH, _HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
