"""Kolors: SDXL's UNet behind a ChatGLM, whose tokenizer reads a sentencepiece file."""

import io
import tempfile
from pathlib import Path
from typing import Any

import sentencepiece
from diffusers import DDPMScheduler, KolorsPipeline, UNet2DConditionModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer

from tests.pipelines.parts import CHANNELS, TEXT_WIDTH, drawn
from tests.pipelines.sdxl import UNET
from tests.tiny_pipelines import CHARACTERS, autoencoder


def kolors() -> KolorsPipeline:
    """Transformers of one and two blocks."""
    tokenizer = chatglm_tokenizer()
    config: Any = ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=tokenizer.vocab_size,
        hidden_size=TEXT_WIDTH,
        ffn_hidden_size=2 * TEXT_WIDTH,
        kv_channels=TEXT_WIDTH // 2,
        num_attention_heads=2,
        original_rope=True,
    )
    text_encoder = ChatGLMModel(config)
    drawn(text_encoder)  # it is made without weights
    return KolorsPipeline(
        vae=autoencoder(CHANNELS, scaling_factor=0.13025),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            **UNET,
            cross_attention_dim=TEXT_WIDTH,
            encoder_hid_dim=TEXT_WIDTH,
            encoder_hid_dim_type="text_proj",
            transformer_layers_per_block=(1, 2),  # pyright: ignore[reportArgumentType]
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + TEXT_WIDTH,
        ),
        scheduler=DDPMScheduler(),  # pyright: ignore[reportArgumentType]
    )


def chatglm_tokenizer() -> ChatGLMTokenizer:
    """A ChatGLM tokenizer that knows single characters."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(CHARACTERS)]),
        model_writer=model,
        model_type="char",
        vocab_size=len(CHARACTERS) + 4,
        minloglevel=2,
    )
    file = Path(tempfile.mkdtemp()) / "tokenizer.model"
    file.write_bytes(model.getvalue())
    return ChatGLMTokenizer(str(file))
