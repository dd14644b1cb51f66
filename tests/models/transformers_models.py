"""Models of transformers, made from small configurations with random weights."""

from functools import partial

import torch
from model_row import ModelRow, images, tokens
from torch import nn

from edgesplit.node.program.torchvision_ops import import_torchvision

# What most configurations share; each takes the keys that it knows.
SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SPEECH = {
    **SMALL,
    "conv_dim": (16, 16),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
PICTURE = {**SMALL, "image_size": 32, "patch_size": 8, "num_labels": 5}
UNCACHED = {"use_cache": False}
DECODER = {**SMALL, **UNCACHED}
GROUPED = {**DECODER, "num_key_value_heads": 2, "head_dim": 8}
SEQ2SEQ = {
    **SMALL,
    **UNCACHED,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "decoder_start_token_id": 1,
}


def make(config: str, model: str, settings: dict[str, object]) -> nn.Module:
    """A model of that class with a configuration of that class, nothing downloaded."""
    import_torchvision()  # first, since transformers imports torchvision
    import transformers

    return getattr(transformers, model)(getattr(transformers, config)(**settings))


def sentences() -> dict[str, torch.Tensor]:
    """Two sentences, the second padded."""
    ids = torch.randint(3, 64, (2, 9))
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 6:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def longer_sentences() -> dict[str, torch.Tensor]:
    """Three sentences of another length."""
    return {
        "input_ids": torch.randint(3, 64, (3, 14)),
        "attention_mask": torch.ones(3, 14, dtype=torch.long),
    }


def translation() -> dict[str, torch.Tensor]:
    """What an encoder and a decoder read."""
    return {
        "input_ids": torch.randint(3, 64, (2, 9)),
        "decoder_input_ids": torch.randint(3, 64, (2, 5)),
    }


ENCODERS = {
    "BertForSequenceClassification": ("BertConfig", SMALL),
    "DistilBertForMaskedLM": (
        "DistilBertConfig",
        {"vocab_size": 64, "dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4},
    ),
    "RobertaModel": ("RobertaConfig", SMALL),
    "AlbertModel": ("AlbertConfig", {**SMALL, "embedding_size": 16}),
    "ElectraForTokenClassification": ("ElectraConfig", {**SMALL, "embedding_size": 16}),
    "DebertaV2Model": (
        "DebertaV2Config",
        {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    ),
    "MPNetModel": ("MPNetConfig", SMALL),
    "ModernBertModel": ("ModernBertConfig", {**SMALL, "cls_token_id": 1, "sep_token_id": 2}),
}
DECODERS = {
    "GPT2LMHeadModel": (
        "GPT2Config",
        {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, **UNCACHED},
    ),
    "OPTForCausalLM": ("OPTConfig", {**DECODER, "word_embed_proj_dim": 32, "ffn_dim": 48}),
    "BloomForCausalLM": ("BloomConfig", {**DECODER, "n_layer": 2, "n_head": 4}),
    "GPTNeoXForCausalLM": ("GPTNeoXConfig", DECODER),
    "FalconForCausalLM": ("FalconConfig", DECODER),
    "LlamaForCausalLM": ("LlamaConfig", GROUPED),
    "MistralForCausalLM": ("MistralConfig", {**GROUPED, "sliding_window": 4}),
    "Qwen3ForCausalLM": ("Qwen3Config", GROUPED),
    "Gemma2ForCausalLM": ("Gemma2Config", GROUPED),
    "PhiForCausalLM": ("PhiConfig", DECODER),
    "MixtralForCausalLM": ("MixtralConfig", {**GROUPED, "num_local_experts": 4}),
    "MambaForCausalLM": ("MambaConfig", {**DECODER, "state_size": 4}),
}
ROWS = [
    *(
        ModelRow(
            f"transformers {name}",
            partial(make, config, name, settings),
            sentences,
            longer_sentences,
        )
        for name, (config, settings) in ENCODERS.items()
    ),
    ModelRow(
        "transformers FNetModel", partial(make, "FNetConfig", "FNetModel", SMALL), tokens(2, 9)
    ),
    *(
        ModelRow(
            f"transformers {name}",
            partial(make, config, name, settings),
            tokens(1, 9),
            tokens(2, 14),
        )
        for name, (config, settings) in DECODERS.items()
    ),
    ModelRow(
        "transformers LongformerModel",
        partial(make, "LongformerConfig", "LongformerModel", {**SMALL, "attention_window": 4}),
        sentences,
        refused="data-dependent",
    ),
    ModelRow(
        "transformers T5ForConditionalGeneration",
        partial(
            make,
            "T5Config",
            "T5ForConditionalGeneration",
            {
                "vocab_size": 64,
                "d_model": 32,
                "d_kv": 8,
                "d_ff": 48,
                "num_layers": 2,
                "num_heads": 4,
                "decoder_start_token_id": 0,
                **UNCACHED,
            },
        ),
        translation,
    ),
    ModelRow(
        "transformers BartForConditionalGeneration",
        partial(make, "BartConfig", "BartForConditionalGeneration", SEQ2SEQ),
        translation,
    ),
    ModelRow(
        "transformers WhisperForConditionalGeneration",
        partial(
            make,
            "WhisperConfig",
            "WhisperForConditionalGeneration",
            {**SEQ2SEQ, "num_mel_bins": 8, "max_source_positions": 20},
        ),
        lambda: {
            "input_features": torch.randn(1, 8, 40),
            "decoder_input_ids": torch.randint(3, 64, (1, 5)),
        },
    ),
    ModelRow(
        "transformers Wav2Vec2ForCTC",
        partial(make, "Wav2Vec2Config", "Wav2Vec2ForCTC", SPEECH),
        images(1, 400),
        images(2, 600),
    ),
    ModelRow(
        "transformers ViTForImageClassification",
        partial(make, "ViTConfig", "ViTForImageClassification", PICTURE),
        images(1, 3, 32, 32),
        images(3, 3, 32, 32),
    ),
    ModelRow(
        "transformers SegformerForSemanticSegmentation",
        partial(
            make,
            "SegformerConfig",
            "SegformerForSemanticSegmentation",
            {
                "hidden_sizes": [8, 16, 16, 32],
                "depths": [1, 1, 1, 1],
                "num_attention_heads": [1, 2, 2, 4],
                "decoder_hidden_size": 16,
                "num_labels": 5,
            },
        ),
        images(1, 3, 64, 64),
    ),
    ModelRow(
        "transformers CLIPModel",
        partial(
            make,
            "CLIPConfig",
            "CLIPModel",
            {"text_config": SMALL, "vision_config": PICTURE, "projection_dim": 16},
        ),
        lambda: {
            "input_ids": torch.randint(3, 64, (2, 9)),
            "pixel_values": torch.randn(2, 3, 32, 32),
            "attention_mask": torch.ones(2, 9, dtype=torch.long),
        },
    ),
    ModelRow(
        "transformers Dinov2Model",
        partial(make, "Dinov2Config", "Dinov2Model", PICTURE),
        images(1, 3, 32, 32),
    ),
    ModelRow(
        "transformers PatchTSTForPrediction",
        partial(
            make,
            "PatchTSTConfig",
            "PatchTSTForPrediction",
            {
                "num_input_channels": 3,
                "context_length": 32,
                "prediction_length": 8,
                "patch_length": 8,
                "patch_stride": 8,
                "d_model": 16,
                "ffn_dim": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
            },
        ),
        images(2, 32, 3),
    ),
    ModelRow(
        "transformers GPT2LMHeadModel, with its cache",
        partial(
            make,
            "GPT2Config",
            "GPT2LMHeadModel",
            {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4},
        ),
        tokens(1, 9),
        refused="use_cache",
    ),
]
