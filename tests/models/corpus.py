"""All rows by family, and the samples of them that CI takes."""

import attention_models
import audio_models
import picture_models
import recurrent_models
import refused_models
import style_models
import table_models
import timm_models
import torchvision_models
import transformers_models

FAMILIES = {
    "torchvision": torchvision_models.ROWS,
    "timm": timm_models.ROWS,
    "transformers": transformers_models.ROWS,
    "pictures": picture_models.ROWS,
    "sound": audio_models.ROWS,
    "recurrent": recurrent_models.ROWS,
    "attention": attention_models.ROWS,
    "tables": table_models.ROWS,
    "styles": style_models.ROWS,
    "refused": refused_models.ROWS,
}
ROWS = [row for rows in FAMILIES.values() for row in rows]

# Some of each family, quick ones: about 40 s on one core. And all of `refused`.
SAMPLE = (
    "torchvision squeezenet1_1",
    "torchvision resnet18",
    "torchvision swin",
    "timm convnextv2_atto",
    "timm deit_tiny_distilled_patch16_224",
    "timm mixer_s32_224",
    "timm resnet10t, features",
    "transformers BertForSequenceClassification",
    "transformers GPT2LMHeadModel, with its cache",
    "transformers LlamaForCausalLM",
    "transformers T5ForConditionalGeneration",
    "transformers CLIPModel",
    "U-Net",
    "CenterNet",
    "NMS in plain torch",
    "VAE",
    "log-mel classifier, STFT",
    "SincNet",
    "LSTM tagger, bidirectional",
    "packed sequences",
    "Llama, complex rotary, tied",
    "nn.TransformerEncoder with padding",
    "Mamba's scan",
    "DLRM with embedding bags",
    "graph attention",
    "Hamiltonian net, autograd inside",
    "Fourier neural operator",
    "outputs of many types",
    "spectral, orthogonal, one's own",
    "torch.cond and branches on shapes",
    "while_loop",
    "in-place writes",
    "integers and bools",
    "asks for strides",
    "vmap and functional_call",
)
# A session takes a second or two before its first answer.
SESSION_SAMPLE = (
    "torchvision squeezenet1_1",
    "transformers LlamaForCausalLM",
    "LSTM tagger, bidirectional",
    "outputs of many types",
    "in-place writes",
    "plain arguments",
    "an integer that counts",
)


def named(names):
    """The rows of these names."""
    by_name = {row.name: row for row in ROWS}
    return [by_name[name] for name in names]
