"""What a person asks of a training run: data, base model, method; from a file or from flags."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from napari_sam.errors import InputError
from src_model.training.config import TrainingConfig, checked_values
from src_model.training.encoder_fitting import FitConfig
from src_model.training.mae import MaeConfig

__all__ = [
    "ENCODER_METHODS",
    "METHODS",
    "RunSettings",
    "read_settings",
    "settings_from_dict",
    "write_settings",
]

METHODS = ("full", "decoder", "lora", "mae", "distill")

ENCODER_METHODS = ("mae", "distill")
"""Those of them that fit the encoder to images without labels."""

_PATHS = (
    "images",
    "labels",
    "validation_images",
    "validation_labels",
    "watched_images",
    "watched_labels",
    "pretraining_images",
)


@dataclass(frozen=True)
class RunSettings:
    """One training run.

    Parameters
    ----------
    images, labels : Path
        Training data, as :func:`napari_sam.finetune.data.open_pictures` takes them; labels may be
        None where the images' place says where the truth is, and for methods that need none.
    instances : {"ids", "components"}
        What one object of a label map is: a number, or a connected region of one.
    axis : str or int, optional
        The axis along which a volume is cut into slices.
    method : {"full", "decoder", "lora", "mae", "distill"}
        The first three as :class:`~src_model.training.config.TrainingConfig` explains; pre-train
        the encoder on images alone (:mod:`src_model.training.mae`); or bring it to the embeddings
        of a teacher and take over the teacher's decoder (:mod:`src_model.training.distill`).
    base : str
        Model to start from: a name, or a file of weights.
    validation_images, validation_labels : Path, optional
        Data to measure progress on. Without, `validation_share` of the pictures is held out.
    validation_share : float
        Between 0 (no validation) and 0.9.
    watched_images, watched_labels : Path, optional
        A hold-out, measured before the first step and with every validation, that decides nothing:
        neither what is learned nor which weights are kept.
    pretraining_images : Path, optional
        Images without labels that the encoder is pre-trained on first (MAE), for the methods full,
        decoder and lora.
    pretraining : MaeConfig
        How it is.
    validate_every, save_every : int
        Steps between measurements, and between states on disk.
    threshold_pictures : int
        So many pictures are segmented without prompts at the end, to choose the thresholds for
        that; with 0 they stay those of the base.
    teacher : str, optional
        Model to imitate, for ``method: distill``.
    training : TrainingConfig or MaeConfig or FitConfig
        Everything else, as the method needs it.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    images: Path
    labels: Path | None = None
    instances: Literal["ids", "components"] = "ids"
    axis: str | int | None = None
    method: str = "full"
    base: str = "vit_nano"
    validation_images: Path | None = None
    validation_labels: Path | None = None
    validation_share: float = 0.2
    watched_images: Path | None = None
    watched_labels: Path | None = None
    pretraining_images: Path | None = None
    pretraining: MaeConfig = field(default_factory=MaeConfig)
    validate_every: int = 100
    save_every: int = 25
    threshold_pictures: int = 6
    teacher: str | None = None
    training: TrainingConfig | FitConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.validation_share <= 0.9:
            raise InputError(
                f"validation_share must lie between 0 and 0.9, not {self.validation_share}."
            )
        for name in ("validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.threshold_pictures < 0:
            raise InputError(
                f"threshold_pictures must be 0 or more, not {self.threshold_pictures}."
            )
        if self.instances not in ("ids", "components"):
            raise InputError(f"instances must be ids or components, not {self.instances!r}.")
        for name in ("base", "teacher"):
            model = getattr(self, name)
            if not isinstance(model, str) and (name, model) != ("teacher", None):
                raise InputError(f"{name} must name a model or a file of weights, not {model!r}.")
        if (self.method == "distill") != (self.teacher is not None):
            raise InputError("A teacher is needed for the method distill, and for no other.")
        if self.pretraining_images is not None and self.method in ENCODER_METHODS:
            raise InputError(
                f"The method {self.method} takes images without labels itself: leave "
                "pretraining_images out."
            )

    @property
    def steps(self) -> int:
        """Steps to be made in all."""
        before = 0 if self.pretraining_images is None else self.pretraining.steps
        return before + self.training.steps

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file; :func:`settings_from_dict` reads them back."""
        values = asdict(self)
        training = values.pop("training")
        training.pop("method", None)
        if self.pretraining_images is None:
            values.pop("pretraining")
        values = {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}
        return {k: v for k, v in values.items() if v is not None} | _plain(training)


def settings_from_dict(values: Mapping[str, Any], folder: Path = Path()) -> RunSettings:
    """Make settings from a flat mapping; relative paths start at ``folder``.

    Raises
    ------
    InputError
        If a name is unknown, a value unusable, or the images are missing.
    """
    values = dict(values)
    own: dict[str, Any] = {}
    method = values.get("method", "full")
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, not {method!r}.")
    for name in [f.name for f in fields(RunSettings) if f.name != "training"]:
        if name in values:
            own[name] = values.pop(name)
    for name in _PATHS:
        if own.get(name) is not None:
            own[name] = folder / Path(str(own[name])).expanduser()
    if own.get("images") is None:
        raise InputError("Say what to train on: images (and labels) are missing.")
    try:
        own["validation_share"] = float(own.get("validation_share", 0.2))
        if "pretraining" in own:
            if not isinstance(own["pretraining"], Mapping):
                raise ValueError("pretraining must be a mapping of its settings.")
            own["pretraining"] = MaeConfig(**checked_values(MaeConfig, own["pretraining"]))
        return RunSettings(**own, training=_training(str(method), values))
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error


def _training(method: str, values: Mapping[str, Any]) -> TrainingConfig | FitConfig:
    """Make the config that a method takes."""
    if method == "mae":
        return MaeConfig(**checked_values(MaeConfig, values))
    if method == "distill":
        return FitConfig(**checked_values(FitConfig, values))
    return TrainingConfig.from_dict({**values, "method": method})


def read_settings(path: Path, overrides: Mapping[str, Any] | None = None) -> RunSettings:
    """Read a YAML file of settings.

    Parameters
    ----------
    path : Path
        The file; relative paths in it start at its folder.
    overrides : mapping, optional
        Values that replace the file's.

    Raises
    ------
    InputError
        If it cannot be read or does not hold settings.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f", line {place.line + 1}" if place is not None else ""
        raise InputError(f"{path}{where} is not valid YAML: correct it.") from error
    if not isinstance(values, Mapping):
        raise InputError(f"{path} must hold lines such as 'steps: 500', but does not.")
    try:
        return settings_from_dict({**values, **(overrides or {})}, path.parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def write_settings(path: Path, settings: RunSettings) -> None:
    """Write settings so that :func:`read_settings` gives them back wherever the file lies."""
    import yaml

    absolute: dict[str, Any] = {
        name: getattr(settings, name).resolve()
        for name in _PATHS
        if getattr(settings, name) is not None
    }
    for name in ("base", "teacher"):
        model = getattr(settings, name)
        if model is not None and (file := Path(model).expanduser()).is_file():
            absolute[name] = str(file.resolve())
    values = replace(settings, **absolute).to_dict()
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def _plain(value: Any) -> Any:
    """Turn tuples into lists, which YAML knows."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
