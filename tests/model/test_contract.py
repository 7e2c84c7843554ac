"""An encoder, decoder or task that lacks what others rely on is refused, with its class's name."""

from types import SimpleNamespace

import pytest
import torch
from model_cases import DNA, tokens_of
from task_cases import TWO_CLASSES, task_of
from torch import nn

from seqmodel.errors import HparamError, ModelError
from seqmodel.hparam.model import DecoderHparams, EncoderHparams
from seqmodel.hparam.optim import AdamWHparams
from seqmodel.hparam.task import ClassifyHparams
from seqmodel.model import Encoder, adapt_encoder, build_decoder, build_encoder
from seqmodel.model.encoder import OneHot
from seqmodel.task.build import task_class
from seqmodel.task.classify import ClassifyTask
from seqmodel.task.optim import parameter_groups
from seqmodel.task.task import Task


class MeanEncoder(Encoder):
    """Linear, and the mean of each two positions; no blocks."""

    def __init__(self, hparams, alphabet):
        super().__init__(hparams)
        self.one_hot = OneHot(alphabet)
        self.out = nn.Linear(4, 6)
        self.n_out, self.stride = 6, 2

    def forward(self, x, pad=None):
        return self.out(nn.functional.avg_pool1d(self.one_hot(x).mT, 2, ceil_mode=True).mT)


def with_attribute(name, value):
    """MeanEncoder, with an attribute that it sets last."""

    def __init__(self, hparams, alphabet):
        MeanEncoder.__init__(self, hparams, alphabet)
        if value is None:
            delattr(self, name)
        else:
            setattr(self, name, value)

    return type("MyEncoder", (MeanEncoder,), {"__init__": __init__})


def built(monkeypatch, cls, **hparams):
    """The encoder that a plugin with `cls` builds."""
    monkeypatch.setattr(f"{__name__}.Plugged", cls, raising=False)
    kind = type("MyHparams", (EncoderHparams,), {"target": f"{__name__}:Plugged"})
    return build_encoder(kind(**hparams), DNA)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("n_out", None, "MyEncoder has no n_out: set self.n_out to the number of channels that"),
        ("n_out", 0, "MyEncoder.n_out is 0: set it to the number of channels that forward returns"),
        ("n_out", 6.0, "MyEncoder.n_out is 6.0"),
        ("n_out", torch.tensor(6), "MyEncoder.n_out is tensor"),
        ("stride", 0, "MyEncoder.stride is 0: set it to the number of input positions"),
        ("stride", 0.5, "MyEncoder.stride is 0.5"),
        ("blocks", [nn.Linear(2, 2)], "MyEncoder.blocks is a list: make it an nn.ModuleList"),
        ("blocks", nn.Linear(2, 2), "MyEncoder.blocks is a Linear"),
    ],
    ids=str,
)
def test_an_encoder_that_does_not_declare_what_is_needed_is_refused(monkeypatch, name, value, says):
    with pytest.raises(ModelError, match=says):
        built(monkeypatch, with_attribute(name, value))


def test_another_class_than_an_encoder_is_refused(monkeypatch):
    with pytest.raises(ModelError, match="Foreign is not an encoder: derive it from"):
        built(monkeypatch, type("Foreign", (nn.Module,), {"__init__": lambda *_: None}))


@pytest.mark.parametrize(("name", "value"), [("n_out", 5), ("stride", 1), ("stride", 3)])
@pytest.mark.parametrize("rc", [False, True])
def test_an_encoder_that_gives_another_shape_than_it_declares_is_refused(
    monkeypatch, name, value, rc
):
    encoder = built(monkeypatch, with_attribute(name, value), rc_equivariant=rc)
    says = rf"MyEncoder.forward returns \[\d, 4, 6\] for 7 positions; .*{name}={value}"
    with pytest.raises(ModelError, match=says):
        encoder(tokens_of(2, 7))


def test_options_of_blocks_are_refused_where_an_encoder_has_none(monkeypatch):
    encoder = built(monkeypatch, MeanEncoder)
    assert encoder.n_blocks == 0
    says = "but the encoder has no blocks; put its layers into self.blocks"
    with pytest.raises(HparamError, match=f"--checkpoint_activations=True, {says}"):
        built(monkeypatch, MeanEncoder, checkpoint_activations=True)
    with pytest.raises(HparamError, match=f"--freeze_layers=1, {says}"):
        adapt_encoder(encoder, EncoderHparams(freeze_layers=1))
    task = nn.ModuleDict({"encoder": encoder})
    with pytest.raises(HparamError, match=f"--lr_layer_decay=0.5, {says}"):
        parameter_groups(task, AdamWHparams(lr_layer_decay=0.5))
    adapt_encoder(encoder, EncoderHparams())
    assert len(parameter_groups(task, AdamWHparams(lr_layer_decay=1.0))) == 2


class MeanDecoder(nn.Module):
    """The mean over positions of the first channels."""

    per_position = False

    def __init__(self, hparams, n_in, n_out):
        super().__init__()
        self.n_given = n_out

    def forward(self, encoded, pad=None):
        return encoded.mean(1)[:, : self.n_given]


class MeanDecoderHparams(DecoderHparams):
    """Two lines of CONTRIBUTING.md, followed."""

    name = "mean"
    target = f"{__name__}:MeanDecoder"


class SureTask(ClassifyTask):
    """The class is the first one."""

    per_position = False


class SureHparams(ClassifyHparams):
    """Two lines of CONTRIBUTING.md, followed."""

    name = "sure"
    target = f"{__name__}:SureTask"


def test_a_decoder_and_a_task_of_a_plugin_are_used():
    task = task_of(SureHparams(), TWO_CLASSES, decoder=MeanDecoderHparams())
    assert type(task) is SureTask
    assert task(tokens_of(3, 9)).shape == (3, 2)


def test_a_decoder_that_gives_something_else_is_refused(monkeypatch):
    monkeypatch.setattr(MeanDecoder, "per_position", True)
    encoder = task_of(ClassifyHparams(), TWO_CLASSES).encoder
    task = task_of(ClassifyHparams(), TWO_CLASSES)
    task.decoder = build_decoder(MeanDecoderHparams(), encoder, 2)
    says = r"MeanDecoder.forward gives \[3, 2\]; its n_out and per_position=True mean \[N, L, 2\]"
    with pytest.raises(ModelError, match=says):
        task(tokens_of(3, 9))
    monkeypatch.setattr(MeanDecoder, "per_position", False)
    task.decoder.n_given = 3
    with pytest.raises(ModelError, match=r"gives \[3, 3\]; .* mean \[N, 2\]"):
        task(tokens_of(3, 9))
    monkeypatch.delattr(MeanDecoder, "per_position")
    with pytest.raises(ModelError, match="MeanDecoder has no per_position: set it to True in the"):
        build_decoder(MeanDecoderHparams(), encoder, 2)


def task_class_of(monkeypatch, cls):
    """What a run gets whose task is of a plugin with `cls`."""
    monkeypatch.setattr(f"{__name__}.Plugged", cls, raising=False)
    kind = SimpleNamespace(target=f"{__name__}:Plugged")
    return task_class(SimpleNamespace(classes={"task": kind}))


@pytest.mark.parametrize("name", ["n_out", "score", "new_metric"])
def test_a_task_without_a_method_that_is_needed_is_refused(monkeypatch, name):
    methods = {n: vars(ClassifyTask)[n] for n in ("n_out", "score", "new_metric")}
    assert task_class_of(monkeypatch, type("MyTask", (Task,), methods)).__name__ == "MyTask"
    del methods[name]
    with pytest.raises(ModelError, match=f"MyTask has no {name}: define the method"):
        task_class_of(monkeypatch, type("MyTask", (Task,), methods))


def test_another_class_than_a_task_is_refused(monkeypatch):
    with pytest.raises(ModelError, match="is no task: derive it from"):
        task_class_of(monkeypatch, nn.Linear)


def test_an_hparams_class_without_a_target_is_refused():
    class Empty(DecoderHparams):
        """Nothing."""

    encoder = task_of(ClassifyHparams(), TWO_CLASSES).encoder
    with pytest.raises(HparamError, match="no such module or object"):
        build_decoder(Empty(), encoder, 2)
