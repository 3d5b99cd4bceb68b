"""Decoders of text, without a cache."""

from __future__ import annotations

from typing import Any

from tests.models.case import BOTH, EAGER, Case, Refused, hugging, prompt
from tests.models.text_encoders import SMALL

GROUPED: dict[str, Any] = {**SMALL, "num_key_value_heads": 2}
HEADED: dict[str, Any] = {**GROUPED, "head_dim": 8}


def _plain(name: str, *implementations: str, **config: Any) -> Case:
    build = hugging(name, **(config or GROUPED))
    return Case(name, build, prompt, implementations=implementations or BOTH)


CASES = (
    _plain("GPT2", vocab_size=100, n_embd=32, n_layer=2, n_head=4),
    _plain("GPTNeoX", **SMALL),
    _plain("GPTJ", "eager", vocab_size=100, n_embd=32, n_layer=2, n_head=4, rotary_dim=4),
    _plain(
        "GPTNeo",
        "eager",
        vocab_size=100,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=4,
        intermediate_size=32,
    ),
    _plain("GPTBigCode", vocab_size=100, n_embd=32, n_layer=2, n_head=4),
    _plain("OPT", **SMALL, ffn_dim=32, word_embed_proj_dim=32),
    _plain("Bloom", "eager", vocab_size=100, hidden_size=32, n_layer=2, n_head=4),
    _plain(
        "Falcon",
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        new_decoder_architecture=False,
        multi_query=True,
    ),
    _plain("Mpt", "eager", vocab_size=100, d_model=32, n_layers=2, n_heads=4),
    _plain("Llama"),
    _plain("Mistral", **GROUPED, sliding_window=5),
    _plain("Qwen2"),
    _plain("Qwen3", **HEADED),
    _plain("Phi"),
    _plain("Phi3", **GROUPED, pad_token_id=0),
    _plain("Gemma2", "eager", **HEADED, sliding_window=5),
    Case(
        "Gemma3",
        hugging(
            "Gemma3Text",
            **HEADED,
            sliding_window=5,
            layer_types=["sliding_attention", "full_attention"],
        ),
        prompt,
    ),
    Case(
        "GptOss",
        hugging("GptOss", **HEADED, num_local_experts=2, num_experts_per_tok=1, sliding_window=5),
        prompt,
        refused=Refused(2, "accepted", "softmax over experts"),
        implementations=EAGER,
    ),
    _plain("Olmo2", **GROUPED),
    _plain("StableLm", **GROUPED),
    _plain("Cohere", **GROUPED),
    _plain("Starcoder2", **GROUPED),
    _plain("Glm", **HEADED, pad_token_id=0),
    _plain(
        "DeepseekV3",
        **{**GROUPED, "num_key_value_heads": 4},
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=4,
        qk_nope_head_dim=8,
        v_head_dim=16,
        first_k_dense_replace=2,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        moe_intermediate_size=32,
    ),
)
