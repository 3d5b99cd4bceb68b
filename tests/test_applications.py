"""Applications that call models for their users, on tiny random ones: what eager gives, by kernels.

Each application is written as its users write it; only the model in it is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import snipjit

pytestmark = [pytest.mark.models, pytest.mark.all_patterns]

WORDS = "the a cat dog sat on mat and ran far away from house big small red blue".split()
VOCABULARY = {
    word: number
    for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
}
TEXTS = (
    "the cat sat on the mat",
    "a dog ran",
    "the big red dog ran far away from the small blue house and the cat",
    "cat",
)
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
PIPELINES: dict[str, Any] = {
    "feature-extraction": transformers.BertModel,
    "fill-mask": transformers.BertForMaskedLM,
    "text-classification": transformers.BertForSequenceClassification,
    "token-classification": transformers.BertForTokenClassification,
}


def _tokenizer() -> Any:
    return transformers.BertTokenizer(vocab=VOCABULARY)


def _bert(kind: Any) -> Any:
    torch.manual_seed(0)
    return kind(transformers.BertConfig(vocab_size=len(VOCABULARY), **SIZES)).eval()


def _numbers(result: Any) -> list[float]:
    """All numbers of a nested result, in its order."""
    if isinstance(result, dict):
        return [number for value in result.values() for number in _numbers(value)]
    if isinstance(result, list | tuple):
        return [number for value in result for number in _numbers(value)]
    if isinstance(result, str) or result is None:
        return []
    return [float(number) for number in np.asarray(result).flatten()]


def _assert_same(application: Callable[[], Any], compile: Callable[[], None], layers: int) -> None:
    """The application gives with a compiled model what it gave before; attentions are kernels."""
    expected = application()
    torch._dynamo.reset()
    snipjit.reset_stats()
    compile()
    result = application()
    np.testing.assert_allclose(_numbers(result), _numbers(expected), rtol=1e-4, atol=1e-5)
    stats = snipjit.stats()
    assert stats.patterns["attention"] % layers == 0
    assert stats.patterns["linear"] >= 4 * layers
    assert stats.kernel_calls >= stats.subgraphs


def _compile_forward(model: Any) -> None:
    model.forward = torch.compile(model.forward, backend="snipjit", dynamic=True)


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("task", PIPELINES)
def test_text_pipelines(task: str, batch: int | None) -> None:
    pipe: Any = transformers.pipeline(task, model=_bert(PIPELINES[task]), tokenizer=_tokenizer())
    texts = [text.replace("cat", "[MASK]") for text in TEXTS] if task == "fill-mask" else TEXTS
    texts = [text for text in texts if task != "fill-mask" or text.count("[MASK]") == 1]
    given: dict[str, Any] = {} if batch is None else {"batch_size": batch}
    _assert_same(lambda: pipe(list(texts), **given), lambda: _compile_forward(pipe.model), 2)


def test_text_generation_pipeline() -> None:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(VOCABULARY), num_key_value_heads=2, pad_token_id=0, **SIZES
    )
    model: Any = transformers.LlamaForCausalLM(config).eval()
    pipe: Any = transformers.pipeline("text-generation", model=model, tokenizer=_tokenizer())

    def generated() -> list[str]:
        results = [pipe(text, max_new_tokens=6, do_sample=False) for text in TEXTS]
        return [result[0]["generated_text"] for result in results]

    expected = generated()
    snipjit.reset_stats()
    _compile_forward(pipe.model)
    assert generated() == expected
    assert snipjit.stats().patterns["attention"] % 2 == 0


def test_image_classification_pipeline() -> None:
    torch.manual_seed(0)
    model: Any = transformers.ViTForImageClassification(
        transformers.ViTConfig(image_size=32, patch_size=8, **SIZES)
    ).eval()
    processor = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
    pipe: Any = transformers.pipeline(
        "image-classification", model=model, image_processor=processor
    )
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)) for _ in range(3)]
    _assert_same(lambda: pipe(images), lambda: _compile_forward(pipe.model), 2)


def test_sentence_transformer(tmp_path: Path) -> None:
    st: Any = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import modules

    _tokenizer().save_pretrained(tmp_path)
    _bert(transformers.BertModel).save_pretrained(tmp_path)
    parts = [modules.Transformer(str(tmp_path)), modules.Pooling(64), modules.Normalize()]
    encoder = st.SentenceTransformer(modules=parts, device="cpu")

    def encoded() -> list[Any]:
        return [encoder.encode(list(TEXTS)), *(encoder.encode(text) for text in TEXTS)]

    _assert_same(encoded, lambda: encoder.compile(backend="snipjit", dynamic=True), 2)


def _stable_diffusion() -> Any:
    """Without its text encoder: prompts are given as what that would make of them."""
    import diffusers

    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
    )
    pipe = diffusers.StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=None,
        tokenizer=None,
        unet=unet.eval(),
        scheduler=diffusers.DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_stable_diffusion_pipeline() -> None:
    pipe = _stable_diffusion()
    prompt, negative = torch.randn(2, 1, 7, 32, generator=torch.Generator().manual_seed(1))

    def images(sides: Sequence[int] = (16, 32, 24)) -> list[Any]:
        made = [
            pipe(
                prompt_embeds=prompt,
                negative_prompt_embeds=negative,
                num_inference_steps=3,
                height=side,
                width=side,
                output_type="np",
                generator=torch.Generator().manual_seed(0),
            )
            for side in sides
        ]
        return [result.images for result in made]

    def compile() -> None:
        pipe.unet = torch.compile(pipe.unet, backend="snipjit", dynamic=True)
        pipe.vae.decode = torch.compile(pipe.vae.decode, backend="snipjit", dynamic=True)

    _assert_same(images, compile, 1)
