"""The known Hparams classes: those of this package and those of the user's plugins. Light.

MODULES lists the modules of the package; no folder is scanned.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from importlib import import_module
from types import ModuleType

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.parser import HparamParser
from seqmodel.hparam.plugin import import_plugin

MODULES = (
    "seqmodel.hparam.trainer",
    "seqmodel.hparam.task",
    "seqmodel.hparam.dataset",
    "seqmodel.hparam.genome",
    "seqmodel.hparam.model",
    "seqmodel.hparam.optim",
    "seqmodel.hparam.job",
)
ROLES = {
    "task": "TaskHparams",
    "dataset": "DatasetHparams",
    "encoder": "EncoderHparams",
    "decoder": "DecoderHparams",
    "optimiser": "OptimiserHparams",
    "schedule": "ScheduleHparams",
}
ALWAYS = ("RunHparams", "TrainingHparams", "TrainerHparams")


def known_hparams(
    plugins: Iterable[str] = (), *, before: Collection[str] = ()
) -> list[type[Hparams]]:
    """Return every Hparams class at the top level of the package's modules and of `plugins`.

    Args:
        plugins: modules of the user.
        before: the plugins that a checkpoint was made with: if the package now has a class of the
            same name, it replaces theirs.

    Raises:
        HparamError: a plugin cannot be imported, or two classes define one name.
    """
    classes = [cls for name in MODULES for cls in _own_classes(import_module(name))]
    if not plugins:
        return classes
    ours = tuple(classes)
    for plugin in plugins:
        found = _own_classes(import_plugin(plugin))
        classes += _without_moved(found, ours, plugin) if plugin in before else found
    try:
        check_namespace(classes)
    except HparamError:
        raise
    except (Exception, SystemExit) as e:
        raise HparamError(f"--plugins={' '.join(plugins)}: {type(e).__name__}: {e}") from e
    _warn_without_role(classes, ours)
    return list(dict.fromkeys(classes))


def _own_classes(module: ModuleType) -> list[type[Hparams]]:
    """Return the Hparams classes at the top of `module` that it or its package defines."""
    found = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Hparams)]
    own = [c for c in found if f"{c.__module__}.".startswith(f"{module.__name__}.")]
    return list(dict.fromkeys(own))


def _warn_without_role(classes: Iterable[type[Hparams]], ours: tuple[type[Hparams], ...]) -> None:
    """Warn of a class of a plugin that no run can use: neither it nor a subclass has a role."""
    roles = (*kinds(ours).values(), _ours(ours)["JobHparams"])
    used = [cls for cls in classes if issubclass(cls, roles) or cls in ours]
    for cls in classes:
        if not any(issubclass(other, cls) for other in used):
            warnings.warn(
                f"{cls.__module__}.{cls.__name__} has no role, so its hyperparameters have no "
                f"effect; derive it from one of {', '.join(ROLES.values())}",
                stacklevel=3,
            )


def _without_moved(
    found: list[type[Hparams]], ours: Iterable[type[Hparams]], plugin: str
) -> list[type[Hparams]]:
    """Return `found` without classes that the package now has, and bases used only by them."""
    taken = {(kind_of(cls), cls.name) for cls in ours if cls.name is not None}
    moved = [cls for cls in found if (kind_of(cls), cls.name) in taken]
    if not moved:
        return found
    for cls in moved:
        warnings.warn(
            f"the choice {cls.name!r} of the plugin {plugin!r} is now part of seqmodel, which uses "
            "its own",
            stacklevel=2,
        )
    chosen = [cls for cls in found if cls.name is not None and cls not in moved]
    return [cls for cls in found if any(issubclass(c, cls) for c in chosen)]


def check_namespace(classes: Iterable[type[Hparams]]) -> HparamParser:
    """Return one parser with everything that `classes` define.

    Raises:
        HparamError: a hyperparameter is defined twice, or two classes have one choice name.
    """
    parser = HparamParser()
    chosen: dict[tuple[type, str], type] = {}
    for cls in classes:
        parser.add_class(cls)
        if cls.name is not None and "name" in cls.__dict__:
            first = chosen.setdefault((kind_of(cls), cls.name), cls)
            if first is not cls:
                raise HparamError(
                    f"the choice {cls.name!r} is defined by both {first.__module__}."
                    f"{first.__name__} and {cls.__module__}.{cls.__name__}; rename one"
                )
    return parser


def kind_of(cls: type[Hparams]) -> type[Hparams]:
    """Return the direct subclass of Hparams from which `cls` is derived, such as EncoderHparams."""
    found = [base for base in cls.__mro__ if Hparams in base.__bases__]
    ours = [base for base in found if base.__module__.startswith("seqmodel.")]
    return [cls, *found, *ours][-1]


def choices(kind: type[Hparams], classes: Iterable[type[Hparams]]) -> dict[str, type[Hparams]]:
    """Return the classes that can be chosen for `kind`, by the word that selects each."""
    return {c.name: c for c in classes if issubclass(c, kind) and c.name is not None}


def always(known: Iterable[type[Hparams]]) -> list[type[Hparams]]:
    """Return the classes that every run has."""
    ours = _ours(known)
    return [ours[name] for name in ALWAYS]


def kinds(known: Iterable[type[Hparams]]) -> dict[str, type[Hparams]]:
    """Return the base class of each role: task, dataset, encoder, ..."""
    ours = _ours(known)
    return {role: ours[kind] for role, kind in ROLES.items()}


def role_choices(known: Sequence[type[Hparams]]) -> dict[str, dict[str, type[Hparams]]]:
    """Return for each role the classes that can be chosen, by the word that selects each."""
    return {role: choices(kind, known) for role, kind in kinds(known).items()}


def _ours(known: Iterable[type[Hparams]]) -> dict[str, type[Hparams]]:
    return {cls.__name__: cls for cls in known if cls.__module__.startswith("seqmodel.")}
