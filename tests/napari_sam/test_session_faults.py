"""Crashes, damaged files, full disks and second users: no object of a session is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_sessions import (
    ENVIRONMENT,
    MODEL,
    SHAPE,
    Discs,
    made_scene,
    made_session,
    reopened,
    settle,
    square,
)

from napari_sam.errors import InputError
from napari_sam.session import Session, SessionInUse, SessionWarning
from napari_sam.sessions import folder as folder_module

HERE = Path(__file__).parent


def _five_steps(path: Path) -> list[np.ndarray]:
    """Write a session, and return its labels after each line of its journal."""
    with made_session(path) as session:
        seen = [session.labels(), session.labels()]  # the line of the model changes none
        for number in range(3):
            session.add_object(square(2 + 5 * number, 3))
            seen.append(session.labels())
        session.undo()
        seen.append(session.labels())
        session.paint(1, square(8, 8), "take_new")
        seen.append(session.labels())
    return seen


def _open(path: Path) -> Session:
    return Session.open(path, made_scene(), Discs(), model=MODEL, user="ada")


def _lines_in(content: bytes) -> int:
    return content.count(b"\n")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_journal_cut_anywhere_keeps_what_is_before(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "s"
    seen = _five_steps(path)
    journal = path / "journal-000001"
    content = journal.read_bytes()
    end = int(data.draw(st.floats(0, 1)) * len(content))
    journal.write_bytes(content[:end])
    whole = _lines_in(content[:end])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        session = _open(path)
    with session:
        np.testing.assert_array_equal(session.labels(), seen[whole])
        clean = content[:end].endswith(b"\n") or not end
        assert len(told) == len(session.repairs) == (0 if clean else 1)
        if not clean:
            (aside,) = path.glob("damaged-*")
            assert content[:end].endswith(aside.read_bytes())
            assert aside.name in session.repairs[0]
        session.add_object(square(19, 20))
    with _open(path) as session:
        assert session.repairs == ()
        assert session.object_at(20, 21) is not None
        while session.undo():
            pass
        assert session.ids == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_costs_what_follows_and_is_told(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("bit") / "s"
    seen = _five_steps(path)
    journal = path / "journal-000001"
    content = bytearray(journal.read_bytes())
    place = int(data.draw(st.floats(0, 1)) * (len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    journal.write_bytes(content)
    before = _lines_in(bytes(content[:place]))
    with pytest.warns(SessionWarning, match="could not be read"):
        session = _open(path)
    with session:
        np.testing.assert_array_equal(session.labels(), seen[before])
        (aside,) = path.glob("damaged-*")
        kept = b"".join(bytes(content).splitlines(keepends=True)[:before])
        assert journal.read_bytes().startswith(kept)
        assert content.endswith(aside.read_bytes())


def test_a_journal_without_one_of_its_lines_ends_there(tmp_path: Path) -> None:
    seen = _five_steps(tmp_path / "s")
    journal = tmp_path / "s" / "journal-000001"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.warns(SessionWarning, match="could not be read"):
        session = _open(tmp_path / "s")
    with session:
        np.testing.assert_array_equal(session.labels(), seen[2])


def test_a_line_that_makes_no_sense_is_cut_off(tmp_path: Path) -> None:
    from napari_sam.sessions.journal import to_line

    made_session(tmp_path / "s").close()
    with (tmp_path / "s" / "journal-000001").open("ab") as file:
        file.write(to_line({"n": 2, "step": {"name": "no objects"}}))
    with pytest.warns(SessionWarning, match="makes no sense"):
        _open(tmp_path / "s").close()


def _snapshots(path: Path) -> list[Path]:
    return sorted(path.glob("snapshot-*"))


def test_a_snapshot_shortens_what_is_read_and_keeps_all_undo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_LEAST", 2000)
    with made_session(tmp_path / "s") as session:
        for number in range(40):
            session.add_object(square(number % 20, number % 26, 2), overlap="take_new")
            settle(session)
        labels, ids = session.labels(), session.ids
        with reopened(session) as again:
            assert again.repairs == ()
            journals = sorted((tmp_path / "s").glob("journal-*"))
            assert len(journals) > 3
            assert len(_snapshots(tmp_path / "s")) == 2
            np.testing.assert_array_equal(again.labels(), labels)
            steps = 0
            while again.undo():
                steps += 1
                settle(again)
            assert steps == 40
            assert again.ids == []
            while again.redo():
                settle(again)
            assert again.ids == ids
            np.testing.assert_array_equal(again.labels(), labels)
    newest = _snapshots(tmp_path / "s")[-1]
    newest.write_bytes(newest.read_bytes()[:-30])
    with pytest.warns(SessionWarning, match="older journals"):
        session = _open(tmp_path / "s")
    with session:
        np.testing.assert_array_equal(session.labels(), labels)
    # An old journal is needed for undo only.
    sorted((tmp_path / "s").glob("journal-*"))[0].unlink()
    with pytest.warns(SessionWarning, match="older journals"):
        session = _open(tmp_path / "s")
    with session:
        np.testing.assert_array_equal(session.labels(), labels)
        with pytest.raises(InputError, match="cannot be undone"):
            _undo_all(session)
        assert session.ids


def _undo_all(session: Session) -> None:
    while session.undo():
        pass


_ACCEPTING = """
import sys
sys.path.insert(0, {here!r})
from made_sessions import made_session
from napari_sam.sessions import folder
folder._LEAST = 3000  # snapshots all the time
session = made_session({path!r})
for number in range(10_000):
    session.add_point(2 + number % 20, 2 + number // 20 % 26)
    accepted = session.accept(overlap="take_new")
    print(accepted, flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_told(tmp_path: Path) -> None:
    script = _ACCEPTING.format(here=str(HERE), path=str(tmp_path / "s"))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(60)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SessionWarning)  # a line may be half written
        session = _open(tmp_path / "s")
    with session:
        last = session._state.highest
        assert told[-1] <= last <= told[-1] + 1
        with made_session(tmp_path / "same") as same:
            for number in range(told[-1]):
                same.add_point(2 + number % 20, 2 + number // 20 % 26)
                same.accept(overlap="take_new")
            while len(session.prompts) or max(session.ids) > told[-1]:
                session.undo()  # what it had begun
            assert session.digest() == same.digest()


def test_a_second_session_is_told_who_has_the_first(tmp_path: Path) -> None:
    with made_session(tmp_path / "s") as session:
        with pytest.raises(SessionInUse, match=f"process {os.getpid()} on .*ada|process"):
            _open(tmp_path / "s")
        session.add_object(square(2, 2))
        closing = threading.Thread(target=session.close)
        closing.start()
        closing.join()
        with _open(tmp_path / "s") as again:
            assert again.ids == [1]


def test_the_lock_of_another_process_holds_until_it_dies(tmp_path: Path) -> None:
    script = _ACCEPTING.format(here=str(HERE), path=str(tmp_path / "s"))
    script = script.replace("10_000", "1") + "sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(SessionInUse, match=f"process {process.pid}"):
            _open(tmp_path / "s")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / "s" / "owner.json").exists()
        with _open(tmp_path / "s") as session:
            assert session.ids == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are of POSIX")
def test_a_full_disk_keeps_changes_in_memory_until_there_is_room(tmp_path: Path) -> None:
    import resource

    with made_session(tmp_path / "s") as session:
        session.add_object(square(1, 1))
        journal = tmp_path / "s" / "journal-000001"
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        heard = []
        session.on_change(lambda event: heard.append(event.kind))
        # A part of the next line still fits.
        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 50, hard))
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                session.add_object(square(6, 6))
                session.add_object(square(12, 12))
                assert session.undo()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        (problem,) = [str(one.message) for one in told if one.category is SessionWarning]
        assert "cannot be written" in problem
        assert heard.count("problem") == 1
        assert session.unsaved == 3
        assert session.ids == [1, 2]
        session.redo()
        assert session.unsaved == 0
        labels = session.labels()
        with reopened(session) as again:
            assert again.repairs == ()
            np.testing.assert_array_equal(again.labels(), labels)


def test_closing_on_a_full_disk_says_so_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sam.sessions.journal import JournalFile

    session = made_session(tmp_path / "s")

    def full(self: JournalFile, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "_write", full)
        with pytest.warns(SessionWarning, match="No space left"):
            session.add_object(square(3, 3))
        with pytest.raises(InputError, match="1 changes are in memory only"):
            session.close()
    session.close()
    with _open(tmp_path / "s") as again:
        assert again.ids == [1]


def test_a_snapshot_that_does_not_fit_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_LEAST", 2000)

    def full(*arguments: Any) -> Any:
        raise OSError(28, "No space left on device")

    with made_session(tmp_path / "s") as session:
        with monkeypatch.context() as patch:
            patch.setattr(folder_module, "written_together", full)
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                for number in range(10):
                    session.add_object(square(number, number, 2), overlap="take_new")
                session.close()
            assert "nothing is lost" in str(told[0].message)
        assert not _snapshots(tmp_path / "s")
        with reopened(session) as again:
            assert again.ids == list(range(1, 11))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_journal_that_vanished_is_noticed(tmp_path: Path, replaced: bool) -> None:
    session = made_session(tmp_path / "s")
    session.add_object(square(1, 1))
    moved = (tmp_path / "s" / "journal-000001").rename(tmp_path / "journal")
    if replaced:
        (tmp_path / "s" / "journal-000001").write_bytes(moved.read_bytes())
    with pytest.warns(SessionWarning, match="cannot be written"):
        session.add_object(square(6, 6))
    moved.replace(tmp_path / "s" / "journal-000001")
    session.add_object(square(12, 12))
    with reopened(session) as again:
        assert again.ids == [1, 2, 3]


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    made_session(tmp_path / "s").close()
    head = tmp_path / "s" / "session.json"
    head.write_text(json.dumps({**json.loads(head.read_text()), "format_version": 2}))
    with pytest.raises(InputError, match="version 2"):
        _open(tmp_path / "s")
    head.write_text("{")
    with pytest.raises(InputError, match=r"session.json cannot be read"):
        _open(tmp_path / "s")


def test_a_step_that_fails_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    with made_session(tmp_path / "s") as session:
        session.add_object(square(1, 1))
        before = session.digest()
        with pytest.raises(InputError, match="rows"):
            session.add_masks({5: square(10, 10), 6: square(SHAPE[0] - 1, 3)}, overlap="take_new")
        with pytest.raises(InputError, match="no object 3"):
            session.delete(1, 3)
        assert session.digest() == before
        assert session.undo()
        assert not session.can_undo
