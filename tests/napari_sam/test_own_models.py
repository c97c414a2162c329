"""Models of one's own: registered, found by name everywhere, mailed, exported, removed."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from recipe import SMALL_VIT, load_seeded_weights

from napari_sam import own_models
from napari_sam.cli import main
from napari_sam.errors import InputError
from napari_sam.loading import check_model, load
from napari_sam.own_models import ModelCard, OwnModel, find_own_model, register
from src_model import Sam, build_sam
from src_model.training.adapter_files import save_adapter
from src_model.training.decoder_files import read_decoder, save_decoder
from src_model.training.lora import LoraConfig, add_lora, lora_parameters, merge_lora
from src_model.weight_files import encoder_hash, model_hash, save_checkpoint

CARD = ModelCard(
    "vit_nano",
    "0" * 64,
    "decoder",
    data={"version": "abc", "sources": ["a", "b"], "objects": 12},
    hold_out={"objects": 5},
    before={"IoU | one click": 0.5},
    after={"IoU | one click": 0.75},
    verdict="better",
    licence="Apache-2.0",
    note="from the blue slides",
)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which models are kept."""
    monkeypatch.setenv("NAPARI_SAM_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "models"


def copied(sam: Sam) -> Sam:
    other = build_sam(sam.variant)
    other.load_state_dict(sam.state_dict())
    return other


def taught(sam: Sam) -> Sam:
    """Return the model with another decoder."""
    other = copied(sam)
    with torch.no_grad():
        for parameter in other.mask_decoder.parameters():
            parameter.add_(0.05)
    return other


def as_a_run_leaves_it(base: Sam, folder: Path, base_name: str) -> Path:
    """Write a fine-tuned decoder as a training run does."""
    folder.mkdir(exist_ok=True)
    sam = taught(base)
    adapter = folder / "best_adapter.safetensors"
    save_decoder(adapter, sam, model_hash(base), encoder_hash(base), base_name)
    save_checkpoint(sam, folder / "best.safetensors")
    return folder / "best.safetensors"


def names() -> list[str]:
    return [model.name for model in own_models.own_models()]


def test_a_registered_model_is_known_by_its_name(
    tiny_sam: Sam, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(taught(tiny_sam), tmp_path / "w.safetensors")
    report = tmp_path / "before-after"
    report.mkdir()
    (report / "report.html").write_text("<p>better</p>")
    model = register(tmp_path / "w.safetensors", "cells-1", CARD, report)
    assert (model.folder, model.card, names()) == (data / "cells-1", CARD, ["cells-1"])
    shutil.rmtree(report)
    (tmp_path / "w.safetensors").unlink()  # all that is needed was copied
    assert model.report is not None
    assert (model.report / "report.html").read_text() == "<p>better</p>"
    page = (model.folder / "card.md").read_text()
    for said in ("# cells-1", "vit_nano", "better", "Apache-2.0", "0.500 | 0.750", "a; b", "blue"):
        assert said in page
    check_model("cells-1", "cpu", "auto")
    assert model_hash(load("cells-1", "cpu", "bfloat16")) == model.hash
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("cells-1")]
    assert "your own, from vit_nano (decoder): better" in line
    assert main(["models", "show", "cells-1"]) == 0
    assert "| IoU \\| one click | 0.500 | 0.750 |" in capsys.readouterr().out
    assert main(["models", "remove", "cells-1"]) == 0
    assert names() == []
    assert not [path for path in data.iterdir() if path.name != ".lock"]
    with pytest.raises(InputError, match="no model named 'cells-1'"):
        check_model("cells-1", "cpu", "auto")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_b", "published"),
        ("VIT_B", "published"),
        ("", "cannot be the name"),
        (".hidden", "cannot be the name"),
        ("a/b", "cannot be the name"),
        ("..", "cannot be the name"),
        ("end.", "cannot be the name"),
        ("a b", "cannot be the name"),
        ("x" * 65, "cannot be the name"),
    ],
)
def test_names_that_are_refused(name: str, words: str, tiny_weights: Path, data: Path) -> None:
    with pytest.raises(InputError, match=words):
        register(tiny_weights, name, CARD)
    assert not data.exists()


def test_a_name_is_given_once_or_replaced(
    tiny_sam: Sam, tiny_weights: Path, tmp_path: Path
) -> None:
    first = register(tiny_weights, "cells", CARD)
    save_checkpoint(taught(tiny_sam), tmp_path / "w.safetensors")
    for taken in ("cells", "Cells"):
        with pytest.raises(InputError, match="a model named cells already"):
            register(tmp_path / "w.safetensors", taken, CARD)
    second = register(tmp_path / "w.safetensors", "cells", CARD, replace=True)
    assert (names(), second.hash != first.hash) == (["cells"], True)
    assert model_hash(load("cells", "cpu", "float32")) == second.hash


@pytest.mark.parametrize("step", ["write_files", "_put_in_place", "_page"])
def test_a_model_is_there_whole_or_not_at_all(
    step: str, tiny_weights: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = register(tiny_weights, "old", CARD)
    with monkeypatch.context() as broken:
        broken.setattr(own_models.registry, step, full)
        with pytest.raises(InputError, match=r"cannot be registered .*No space left"):
            register(tiny_weights, "new", CARD)
        with pytest.raises(InputError, match="No space left"):
            register(tiny_weights, "old", CARD, replace=True)
    assert names() == ["old"]
    assert find_own_model("old") == before
    assert sorted(path.name for path in data.iterdir()) == [".lock", "old"]


def test_what_a_killed_process_left_is_no_model(
    tiny_sam: Sam, tiny_weights: Path, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = register(tiny_weights, "cells", CARD)
    shutil.copytree(model.folder, data / ".new-abc")
    assert names() == ["cells"]
    # Killed between two renames, while it replaced the model.
    (data / "cells").rename(data / ".old-cells")
    assert find_own_model("cells") == model
    assert sorted(path.name for path in data.iterdir()) == [".lock", "cells"]
    (data / "cells" / "card.json").write_text("{")
    assert names() == []
    with pytest.raises(InputError, match=r"card of your model cells .*models remove cells"):
        load("cells")
    own_models.remove("cells")
    register(tiny_weights, "cells", CARD)


def test_a_decoder_is_a_small_file(tmp_path: Path) -> None:
    base = load("vit_nano", "cpu", "float32")
    weights = as_a_run_leaves_it(base, tmp_path / "run", "vit_nano")
    model = register(weights, "cells-1", CARD)
    adapter = model.adapter
    assert adapter is not None
    assert adapter.stat().st_size < 0.3 * model.path.stat().st_size
    assert model.encoder_hash == encoder_hash(base)
    mailed = tmp_path / "mailed.safetensors"
    assert "adds to vit_nano" in own_models.export_adapter("cells-1", mailed)
    got = load(str(mailed), "cpu", "float32")
    assert model_hash(got) == model.hash
    for key, tensor in taught(base).state_dict().items():
        torch.testing.assert_close(got.state_dict()[key], tensor, rtol=0, atol=0)
    second = register(mailed, "cells-2", CARD)  # by who got it
    assert (second.hash, second.path.name) == (model.hash, "adapter.safetensors")
    assert model_hash(load("cells-2", "cpu", "float32")) == model.hash


def test_an_adapter_refuses_another_base(tiny_sam: Sam, tmp_path: Path) -> None:
    weights = as_a_run_leaves_it(tiny_sam, tmp_path / "run", "base.safetensors")
    adapter = weights.with_name("best_adapter.safetensors")
    with pytest.raises(InputError, match=r"a model of your own \(base.safetensors\).*register"):
        load(str(adapter))
    beside = adapter.with_name("base.safetensors")
    save_checkpoint(tiny_sam, beside)
    assert model_hash(load(str(adapter), "cpu", "float32")) == model_hash(taught(tiny_sam))
    save_checkpoint(taught(tiny_sam), beside)
    with pytest.raises(InputError, match="adapter for another custom"):
        load(str(adapter))
    with pytest.raises(ValueError, match="no longer that of its base"):
        save_decoder(adapter, tiny_sam, "0" * 64, "1" * 64)
    assert read_decoder(adapter).base == "base.safetensors"


def test_adapters_on_registered_models(tiny_sam: Sam, tiny_weights: Path, tmp_path: Path) -> None:
    base = register(tiny_weights, "base", CARD)
    sam, path = load("base", "cpu", "float32"), tmp_path / "lora.safetensors"
    add_lora(sam, LoraConfig(rank=2, targets=("encoder.qkv",)))
    with torch.no_grad():
        for parameter in lora_parameters(sam):
            parameter.fill_(0.05)
    save_adapter(path, sam, base.hash, "base")
    merge_lora(sam)
    assert model_hash(load(str(path), "cpu", "float32")) == model_hash(sam)
    model = register(path, "on-base", CARD)
    own_models.remove("base")  # the other is whole in itself
    assert model_hash(load("on-base", "cpu", "float32")) == model_hash(sam)
    assert model.adapter is not None
    with pytest.raises(InputError, match=r"a model of your own \(base\)"):
        load(str(path))


def test_an_adapter_that_does_not_belong_to_the_weights_is_left_out(
    tiny_sam: Sam, tiny_weights: Path, tmp_path: Path
) -> None:
    register(tiny_weights, "base", CARD)
    weights = as_a_run_leaves_it(tiny_sam, tmp_path / "run", "base")
    assert register(weights, "good", CARD).adapter is not None
    save_checkpoint(taught(taught(tiny_sam)), weights)
    assert register(weights, "other", CARD).adapter is None


def test_exported_weights_are_read_by_others(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from transformers_weights import transformers_model

    save_checkpoint(load_seeded_weights(build_sam(SMALL_VIT), seed=3), tmp_path / "w.safetensors")
    register(tmp_path / "w.safetensors", "mine", CARD)
    frames = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    for ending in ("pth", "safetensors"):
        path = tmp_path / f"mine.{ending}"
        own_models.export("mine", path)
        again = build_sam(SMALL_VIT, checkpoint=path)
        theirs = transformers_model(again)
        with torch.no_grad():
            ours = load("mine", "cpu", "float32").image_encoder(frames)
            given = theirs.get_image_embeddings(frames)
        assert (ours - given).abs().max() <= 1e-3 * given.abs().max()
    state = torch.load(tmp_path / "mine.pth", weights_only=True)
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert list(state) == list(build_sam(SMALL_VIT).state_dict())


def test_who_reads_exported_weights(tiny_weights: Path, tmp_path: Path) -> None:
    save_checkpoint(build_sam("vit_t"), tmp_path / "w.safetensors")
    register(tmp_path / "w.safetensors", "mobile", CARD)
    register(tiny_weights, "tiny", CARD)
    assert "MobileSAM" in own_models.export("mobile", tmp_path / "m.pth")
    said = own_models.export("tiny", tmp_path / "t.safetensors")
    assert "only napari-sam reads it, with --model t.safetensors" in said
    nano = tmp_path / "nano.pth"
    assert "no other tool knows the variant vit_nano" in own_models.export("vit_nano", nano)
    assert model_hash(load(str(nano), "cpu", "float32")) == model_hash(load("vit_nano", "cpu"))
    for path, words in (("m.h5", "does not end in"), ("no/such/m.pth", "could not be written")):
        with pytest.raises(InputError, match=words):
            own_models.export("tiny", tmp_path / path)


def test_a_run_is_registered_by_its_folder(
    tiny_sam: Sam, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["models", "register", str(run), "cells-1", "--note", "blue"]
    assert main(command) == 2
    as_a_run_leaves_it(tiny_sam, run, tiny_weights.name)
    (run / "config.yaml").write_text(f"images: {tmp_path}\nbase: {tiny_weights}\nmethod: decoder\n")
    (run / "environment.json").write_text(json.dumps({"base_hash": model_hash(tiny_sam)}))
    capsys.readouterr()
    assert main(command) == 0
    assert "use it with --model cells-1" in capsys.readouterr().out
    model = find_own_model("cells-1")
    assert isinstance(model, OwnModel)
    assert (model.card.base, model.card.method) == (tiny_weights.name, "decoder")
    assert (model.card.base_hash, model.card.note) == (model_hash(tiny_sam), "blue")
    assert main(["models", "export", "cells-1", "-o", str(tmp_path / "c.pth")]) == 0
    assert os.path.getsize(tmp_path / "c.pth") > 100_000
    assert main(["models", "remove", "nobody"]) == 2
    assert "choose one of cells-1" in capsys.readouterr().err
