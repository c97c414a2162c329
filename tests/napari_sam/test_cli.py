"""The command line, from arguments to files."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam import __version__
from napari_sam.cli import main
from napari_sam.commands import demo, running, segment
from src_model import Sam
from src_model.checkpoints import CHECKPOINTS

ROOT = Path(__file__).parents[2]
IMAGE = np.random.default_rng(2).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "cells.png"
    Image.fromarray(IMAGE).save(path)
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must be refused with one sentence, and return it."""
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("napari-sam: ")
    assert err.count("\n") == 1
    assert err.endswith(".\n")
    return err


def run_process(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "napari_sam.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("prompt", "kinds"),
    [
        (["--point", "10,20"], ["point"]),
        (["--point", "10,20", "--point", "30,40,0"], ["points"]),
        (["--box", "5,6,30,35"], ["box"]),
        (["--box", "30,35,5,6", "--point", "12,13"], ["box+points"]),
        (["--box", "5,6,30,35", "--box", "1,1,39,49"], ["box", "box"]),
    ],
)
def test_segment_writes_labels_table_and_overlay(
    picture: Path,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    prompt: list[str],
    kinds: list[str],
) -> None:
    out = tmp_path / "new" / "out"
    assert (
        main(["segment", str(picture), *prompt, "--model", str(tiny_weights), "-o", str(out)]) == 0
    )
    printed = capsys.readouterr()
    assert printed.err == ""
    labels = tifffile.imread(out / "cells_labels.tif")
    assert labels.shape == (40, 50)
    assert labels.dtype == np.uint32
    with (out / "cells_objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {row["prompt"] for row in rows} <= set(kinds)
    for row in rows:
        assert int(row["area_px"]) == np.count_nonzero(labels == int(row["id"]))
    assert Image.open(out / "cells_overlay.png").size == (800, 640)
    assert len(list(out.iterdir())) == 3
    for path in out.iterdir():
        assert str(path) in printed.out


def test_segment_everything_may_find_nothing(
    picture: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["segment", picture, "--everything", "--model", tiny_weights, "-o", out]
    assert main([str(argument) for argument in arguments]) == 0
    assert "no object" in capsys.readouterr().out
    assert not tifffile.imread(out / "cells_labels.tif").any()
    assert len((out / "cells_objects.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
def test_tiny_and_narrow_pictures(
    shape: tuple[int, int], tiny_weights: Path, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "dot.tif", np.full(shape, 3, np.uint16))
    arguments = ["segment", tmp_path / "dot.tif", "--point", "0,0", "--model", tiny_weights]
    assert main([str(argument) for argument in [*arguments, "-o", tmp_path]]) == 0
    assert tifffile.imread(tmp_path / "dot_labels.tif").shape == shape


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Say what to segment"),
        (["--everything", "--point", "1,2"], "--everything finds"),
        (["--point", "40,2"], "40 rows and 50 columns"),
        (["--point", "-3,5"], "outside the image"),
        (["--point", "1;2"], "not ROW,COL"),
        (["--point", "1,2,3"], "not ROW,COL"),
        (["--point", "nan,2"], "not ROW,COL"),
        (["--point"], "expected one argument"),
        (["--point", "1,2,0"], "background point alone"),
        (["--box", "1,2,3"], "not R0,C0,R1,C1"),
        (["--box", "1,2,1,9"], "no area"),
        (["--box", "-9,2,5,9"], "outside the image"),
        (["--box", "1,2,5,9", "--box", "1,2,5,9", "--point", "1,2"], "one box"),
        (["--point", "1,2", "--model", "vit_x"], "vit_nano, vit_t, vit_b"),
        (["--point", "1,2", "--model", "no/such/file.pth"], "no file"),
        (["--point", "1,2", "--modle", "vit_b"], "--modle"),
    ],
)
def test_bad_arguments(
    picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert words in refused(capsys, "segment", picture, *arguments, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.tif").write_text("II*\0 no TIFF at all")
    tifffile.imwrite(tmp_path / "nan.tif", np.full((4, 5), np.nan, np.float32))
    tifffile.imwrite(tmp_path / "complex.tif", np.zeros((4, 5), np.complex64))
    tifffile.imwrite(
        tmp_path / "five.tif", np.zeros((4, 6, 5), np.uint8), planarconfig="contig", photometric=1
    )
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((7, 4, 5), np.uint8))
    with pytest.warns(UserWarning, match="zero-size"):
        tifffile.imwrite(tmp_path / "zero.tif", np.zeros((0, 5), np.uint8))
    for name, words in {
        "absent.png": "no such file",
        "empty.png": "0 bytes",
        "text.tif": "damaged",
        "nan.tif": "no finite pixel",
        "complex.tif": "complex",
        "five.tif": "5 channels",
        "stack.tif": "stack of shape (7, 4, 5)",
        "zero.tif": "",
        ".": "folder",
    }.items():
        out = tmp_path / "out"
        assert words in refused(capsys, "segment", tmp_path / name, "--everything", "-o", out)
        assert not out.exists()


def test_a_damaged_model_is_told(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "weights.pth").write_bytes(b"nothing of the kind")
    refused(
        capsys,
        *("segment", picture, "--point", "1,2", "--model", tmp_path / "weights.pth"),
        *("-o", tmp_path / "out"),
    )
    assert not (tmp_path / "out").exists()


def test_a_file_as_output_is_told_before_any_work(
    picture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "load", lambda name: pytest.fail("the model was loaded"))
    sentence = refused(capsys, "segment", picture, "--point", "1,2", "-o", picture)
    assert "is a file" in sentence


def test_interruption(
    picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(name: str) -> Sam:
        raise KeyboardInterrupt

    monkeypatch.setattr(segment, "load", interrupted)
    out = tmp_path / "out"
    assert main(["segment", str(picture), "--point", "1,2", "-o", str(out)]) == 130
    assert capsys.readouterr().err.strip() == "napari-sam: stopped."
    assert not out.exists()


def test_bugs_are_not_hidden(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> Sam:
        raise RuntimeError("a bug")

    monkeypatch.setattr(segment, "load", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["segment", str(picture), "--point", "1,2", "-o", str(tmp_path / "out")])


def test_models_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    for checkpoint in CHECKPOINTS.values():
        (line,) = [line for line in out.splitlines() if line.split(" ")[0] == checkpoint.name]
        assert checkpoint.licence in line
        assert "MB" in line or "GB" in line


def test_models_tells_what_is_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    (tmp_path / CHECKPOINTS["vit_b"].file_name).write_bytes(bytes(5_000_000))
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "vit_b                  5 MB     yes" in out
    assert str(tmp_path) in out


@pytest.mark.parametrize(
    "command",
    [[], ["segment"], ["convert"], ["train"], ["evaluate"], ["compare"], ["demo"], ["models"]],
)
def test_help_fits_a_terminal(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: {' '.join(['napari-sam', *command])}")
    assert max(map(len, out.splitlines())) <= 88


def test_version_no_command_and_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"napari-sam {__version__}\n"
    assert main([]) == 2
    assert "napari-sam demo" in capsys.readouterr().out
    assert "choose from 'segment', 'propagate', 'convert', " in refused(capsys, "segmnet")


def test_progress_is_told_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.0
    monkeypatch.setattr(running.time, "monotonic", lambda: seconds)
    with running.progress_bar("pictures") as progress:
        for done in range(1, 13):
            seconds += 12
            progress(done, 12)
    assert capsys.readouterr().err.splitlines() == [
        "3 of 12 pictures, about 2 min left",
        "6 of 12 pictures, about 2 min left",
        "9 of 12 pictures, about 1 min left",
    ]


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, napari_sam.cli as cli; assert cli.main(['--help']) == 0;"
        "print(sorted({'numpy', 'torch', 'PIL', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_real_process(picture: Path, tiny_weights: Path, tmp_path: Path) -> None:
    done = run_process(
        *("segment", "cells.png", "--point", "3,4", "--model", tiny_weights, "-o", "out"),
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert tifffile.imread(tmp_path / "out" / "cells_labels.tif").shape == (40, 50)
    data = picture.read_bytes()
    picture.write_bytes(data[: len(data) // 2])
    done = run_process("segment", "cells.png", "--everything", "-o", "out2", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("napari-sam: cells.png is damaged")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out2").exists()


def test_sample_and_prompts_fit_together() -> None:
    sample = demo.load_sample()
    rows, cols = sample.image.shape[:2]
    assert 0 <= sample.click.row < rows
    assert 0 <= sample.click.col < cols
    assert 0 <= sample.box.row0 < sample.box.row1 <= rows
    assert 0 <= sample.box.col0 < sample.box.col1 <= cols


def test_demo_with_any_model(
    tiny_sam: Sam, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = demo.load_sample()
    small = demo.Sample(
        sample.title, sample.image[:64, :64], demo.Point(9, 9), demo.Box(2, 2, 40, 40)
    )
    overlays = demo.segment_sample(tiny_sam, small, tmp_path)
    assert [path.name for path in overlays] == [
        "click_overlay.png",
        "box_overlay.png",
        "everything_overlay.png",
    ]
    assert len(list(tmp_path.iterdir())) == 9
    out = capsys.readouterr().out
    assert "one click at row 9, column 9" in out
    assert "everything" in out


def test_nobody_reads_the_output_any_more(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "napari_sam.cli", "models"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # as `head` does, here before the first line
        assert process.stderr.read() == b""
    assert process.returncode == 141
