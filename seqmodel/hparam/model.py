"""Hyperparameters of encoders and decoders. Light: models are named as text."""

from __future__ import annotations

from argparse import Namespace

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import FOLDER, integer, number, path, str2bool


class EncoderHparams(Hparams):
    """Hyperparameters of every encoder."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--n_dims", type=integer(1), default=128, help="Number of channels of the encoder."
        )
        parser.add_argument(
            "--n_layers",
            type=integer(1, 10_000),
            default=4,
            help="Number of blocks of the encoder.",
        )
        parser.add_argument(
            "--dropout",
            type=number(0, 1, open_hi=True),
            default=0.1,
            help="Proportion of the outputs of each block that are set to zero in training.",
        )
        parser.add_argument(
            "--causal",
            type=str2bool,
            default=False,
            help="Each position sees itself and earlier positions only. Required by --task=causal.",
        )
        parser.add_argument(
            "--rc_equivariant",
            type=str2bool,
            default=False,
            help="Share the parameters between both strands: the reverse complement of the input "
            "gives the same output, reversed. n_dims is then the width of each strand.",
        )
        parser.add_argument(
            "--checkpoint_activations",
            type=str2bool,
            default=False,
            help="Compute each block again in the backward pass: less memory, about a third more "
            "time.",
        )
        parser.add_argument(
            "--freeze_layers",
            type=integer(0),
            default=0,
            help="Number of blocks, from the first, that are not trained. The embedding is not "
            "trained either. 0: all are trained.",
        )
        parser.add_argument(
            "--lora_rank",
            type=integer(0),
            default=0,
            help="Rank of the LoRA adapters of all linear layers of the encoder. The adapters are "
            "then the only part of the encoder that is trained. 0: no adapters. Requires the "
            "extra 'lora'.",
        )
        parser.add_argument(
            "--lora_alpha",
            type=number(0, open_lo=True),
            default=16.0,
            help="Scale of the LoRA adapters, which are multiplied by lora_alpha / lora_rank.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        if values.rc_equivariant and values.causal:
            raise HparamError(
                "--rc_equivariant=True and --causal=True: the reverse strand would reveal later "
                "positions; set one of them to False"
            )


class BlockHparams(EncoderHparams):
    """Hyperparameters of the encoders with mixing and feed-forward layers."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--n_ff",
            type=integer(1),
            help="Number of hidden channels of the feed-forward layers. If unset: 4 * n_dims.",
        )


class HyenaHparams(BlockHparams):
    """Hyena: implicit long convolutions, for inputs of 100,000 positions or more."""

    name = "hyena"
    target = "seqmodel.model.hyena:HyenaEncoder"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--filter_length",
            type=integer(5),
            default=1024,
            help="Distance at which the longest filters have decayed to 1/100, in positions.",
        )


class TransformerHparams(BlockHparams):
    """Transformer with rotary position embeddings and pre-normalization."""

    name = "transformer"
    target = "seqmodel.model.transformer:TransformerEncoder"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--n_heads",
            type=integer(1),
            default=4,
            help="Number of attention heads. It must divide n_dims.",
        )
        parser.add_argument(
            "--norm",
            type=str,
            choices=["layer", "rms"],
            default="layer",
            help="Normalization layer: LayerNorm or RMSNorm.",
        )
        parser.add_argument(
            "--feed_forward",
            type=str,
            choices=["gelu", "swiglu"],
            default="gelu",
            help="Activation of the feed-forward layers. swiglu adds a gate with half as many "
            "weights.",
        )
        parser.add_argument(
            "--rotary",
            type=str2bool,
            default=True,
            help="Use rotary position embeddings. False: no positions.",
        )
        parser.add_argument(
            "--rotary_base",
            type=number(1, open_lo=True),
            default=10000.0,
            help="Base of the rotary wavelengths. Use a larger base for longer sequences.",
        )
        parser.add_argument(
            "--attention_window",
            type=integer(1),
            help="Number of positions on each side that a position attends to. If unset: all.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        if values.n_dims % values.n_heads:
            raise HparamError(
                f"--n_heads={values.n_heads} does not divide --n_dims={values.n_dims}; "
                "change one of them"
            )
        if values.rotary and values.n_dims // values.n_heads % 2:
            raise HparamError(
                f"--rotary=True needs an even number of channels per head, not n_dims / n_heads = "
                f"{values.n_dims // values.n_heads}; change one of them"
            )


class ConvHparams(EncoderHparams):
    """Hyperparameters of the convolutional encoders."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--first_kernel_size",
            type=integer(1),
            default=15,
            help="Width of the first convolution, the motif scanner, in bp. It must be odd.",
        )
        parser.add_argument(
            "--kernel_size",
            type=integer(1),
            default=5,
            help="Width of the other convolutions, in positions of their layer. It must be odd.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        for name in ("first_kernel_size", "kernel_size"):
            width = getattr(values, name)
            if width % 2 == 0:
                raise HparamError(
                    f"--{name}={width} is even, so it has no middle; use {width - 1} or {width + 1}"
                )


class DilatedConvHparams(ConvHparams):
    """Dilated residual convolutions (ByteNet, BPNet), with one output for each position."""

    name = "dilated_conv"
    target = "seqmodel.model.dilated_conv:DilatedConvEncoder"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--dilation_cycle",
            type=integer(1),
            default=10,
            help="Number of blocks after which the dilations 1, 2, 4, ... start again at 1.",
        )


class PooledConvHparams(ConvHparams):
    """Hyperparameters of the encoders with pooling."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--pool_size",
            type=integer(1, 1024),
            default=2,
            help="Number of positions that are pooled into one: in each block (cnn), or before "
            "the LSTM (conv_lstm).",
        )


class CnnHparams(PooledConvHparams):
    """Convolutions with pooling (DeepSEA, Basset, DeepSTARR)."""

    name = "cnn"
    target = "seqmodel.model.cnn:CnnEncoder"


class ConvLstmHparams(PooledConvHparams):
    """A convolution, followed by bidirectional LSTMs (DanQ)."""

    name = "conv_lstm"
    target = "seqmodel.model.conv_lstm:ConvLstmEncoder"

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        if values.n_dims % 2:
            raise HparamError(
                f"--encoder=conv_lstm: --n_dims={values.n_dims} must be even, one half for "
                "each direction"
            )


class HfHparams(EncoderHparams):
    """A HuggingFace transformers model in a local folder, which sets n_dims and n_layers."""

    name = "hf"
    target = "seqmodel.model.hf:HfEncoder"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--hf_path",
            type=path(FOLDER),
            inherited=False,
            help="Folder with config.json, weights and tokenizer, as save_pretrained writes them. "
            "Required.",
        )
        parser.add_argument(
            "--hf_pretrained",
            type=str2bool,
            default=True,
            help="Start from the weights in the folder. False: start from new weights.",
        )
        parser.add_argument(
            "--hf_trust_remote_code",
            type=str2bool,
            default=False,
            inherited=False,
            help="Run the Python code in the folder. Set it only if you have read that code.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        if not values.hf_path:
            raise HparamError("--encoder=hf needs --hf_path=FOLDER, a folder with config.json")


class WrappedHparams(EncoderHparams):
    """Your own network, which sets n_dims, n_layers and dropout itself."""

    name = "wrapped"
    target = "seqmodel.model.wrapped:WrappedEncoder"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add(
            "--wrapped_module",
            help="Class or function that makes the network, as my_module:Net. my_module must be "
            "in --plugins. Required.",
        )
        add(
            "--wrapped_layout",
            choices=["NAL", "NLA", "NL"],
            default="NAL",
            help="Input of the network: one-hot [N, A, L], one-hot [N, L, A], or ids [N, L].",
        )
        add(
            "--wrapped_letters",
            help="Characters of the alphabet in the order of the network's input channels. Write "
            "N for the channel of unknown bases, - for padding, . for a channel without "
            "meaning. If unset: the order of the alphabet.",
        )
        add(
            "--wrapped_n_out",
            type=integer(1),
            default=1,
            help="Number of outputs of the network, T.",
        )
        add(
            "--wrapped_bin_len",
            type=integer(1),
            default=1,
            help="Number of bp for each position of the network's output, if it has several "
            "positions.",
        )
        add(
            "--wrapped_positions",
            type=integer(0),
            default=0,
            help="Number of positions of the network's output [N, L', T]. 0: the output is [N, T].",
        )
        add(
            "--wrapped_gives_letters",
            type=str2bool,
            default=False,
            help="The outputs of the network are the bases or residues, in the order of "
            "--wrapped_letters.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse a network whose module is not among the plugins, because it is code."""
        if values.rc_equivariant:
            raise HparamError(
                "--encoder=wrapped: --rc_equivariant is not possible; set it to False"
            )
        module = (values.wrapped_module or "").partition(":")[0]
        if not module:
            raise HparamError("--encoder=wrapped needs --wrapped_module=my_module:Net")
        if module not in values.plugins:
            raise HparamError(
                f"--wrapped_module={values.wrapped_module} is code, so a file alone cannot have it "
                f"imported; if you trust it, give --plugins={module} (or --trust_plugins)"
            )


class DecoderHparams(Hparams):
    """Hyperparameters of every decoder."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--n_decoder_dims",
            type=integer(0),
            default=0,
            help="Number of hidden channels of the decoder. 0: a linear decoder.",
        )
        parser.add_argument(
            "--decoder_dropout",
            type=number(0, 1, open_hi=True),
            default=0.0,
            help="Proportion of the decoder's input that is set to zero in training.",
        )


class PositionHparams(DecoderHparams):
    """One output for each position."""

    name = "position"
    target = "seqmodel.model.decoder:PositionDecoder"


class PooledHparams(DecoderHparams):
    """One output for each sequence, pooled over its positions."""

    name = "pooled"
    target = "seqmodel.model.decoder:PooledDecoder"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--pool",
            type=str,
            choices=["mean", "max", "attention", "first"],
            default="mean",
            help="How the positions are pooled into one vector: their mean, their maximum, a "
            "learned weighted mean (attention), or the first position alone.",
        )


class BinnedHparams(DecoderHparams):
    """One output for each sequence, with weights for each part, so that motif positions matter."""

    name = "binned"
    target = "seqmodel.model.decoder:BinnedDecoder"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--n_bins",
            type=integer(1),
            default=8,
            help="Number of parts of equal width into which the encoder's positions are pooled.",
        )
        parser.add_argument(
            "--bin_pool",
            type=str,
            choices=["mean", "max"],
            default="mean",
            help="How the positions of a part are pooled.",
        )


class ProfileHparams(DecoderHparams):
    """One output for each bin, without the bins at both ends."""

    name = "profile"
    target = "seqmodel.model.decoder:ProfileDecoder"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--bin_positions",
            type=integer(1),
            help="Number of positions of the encoder's output that are averaged into one bin. If "
            "unset: --bin_len divided by the stride of the encoder.",
        )
        parser.add_argument(
            "--crop_bins",
            type=integer(0),
            default=0,
            help="Number of bins at each end that are not predicted, because they lack context.",
        )


class NoDecoderHparams(DecoderHparams):
    """The unchanged outputs of the encoder, for --encoder=wrapped."""

    name = "none"
    target = "seqmodel.model.wrapped:NoDecoder"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--outputs",
            choices=["sequence", "position"],
            default="sequence",
            help="Whether the encoder gives one output for each sequence, or one for each "
            "position.",
        )
