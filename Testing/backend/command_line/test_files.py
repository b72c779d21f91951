"""Writing then renaming: a file appears complete or not at all, whatever goes wrong."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from file_limits import files_no_larger_than

from mimseg import files
from mimseg.errors import UserError
from mimseg.files import Incomplete, cannot_write, replacing, write_bytes, write_text
from mimseg.formats import ending_of

NAMES = ["r.csv", "scan.nii.gz", "größe 頭部.seg.nrrd", "no ending", "two.parts.2019.NII.GZ", "ü" * 100 + ".png"]


@pytest.mark.parametrize("name", NAMES)
def test_the_temporary_name_is_plain_hidden_beside_the_file_and_ends_like_it(tmp_path: Path, name: str) -> None:
    target = tmp_path / "ordner ä" / name
    with replacing(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.isascii()
        assert temporary.name.startswith(files.TEMPORARY)
        assert ending_of(temporary) == ending_of(target)
        assert temporary.suffix == target.suffix.lower()
        temporary.write_text("x")
    assert [path.name for path in target.parent.iterdir()] == [name]


def test_permissions_are_those_of_any_other_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


def failing(path: Path, write: object, check: object = None, also: tuple = ()) -> UserError:
    """The error of a write over an older file, which must survive, alone."""
    path.write_text("old")
    with pytest.raises(UserError) as caught, replacing(path, check, also) as temporary:  # type: ignore[arg-type]
        write(temporary)  # type: ignore[operator]
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]
    assert caught.value.code == "cannot-write"
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


def test_a_writer_that_silently_writes_nothing_is_found_out(tmp_path: Path) -> None:
    assert "empty" in failing(tmp_path / "r.nrrd", lambda path: None).message


def test_a_file_that_fails_its_check_is_not_taken(tmp_path: Path) -> None:
    def check(path: Path) -> None:
        if path.read_text() != "whole":
            raise Incomplete("3 of 5 bytes arrived")

    assert "3 of 5" in failing(tmp_path / "r.nrrd", lambda path: path.write_text("who"), check).message


def test_a_library_that_raises_its_own_kind_of_error_is_named_by_its_last_words(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("Exception thrown in x.cxx:12:\nsitk::ERROR: ITK ERROR: Writer(0x7): no more room.")

    fault = failing(tmp_path / "r.nrrd", write, also=(RuntimeError,))
    assert fault.message.endswith("cannot be written (no more room).")


def test_a_size_limit_is_told_with_its_remedy(tmp_path: Path) -> None:
    with files_no_larger_than(1000):
        fault = failing(tmp_path / "r.csv", lambda path: path.write_bytes(bytes(5000)))
    assert "larger" in fault.message.lower() or "large" in fault.message.lower()
    assert "another disk" in fault.hint


def test_a_full_disk_is_told_with_its_remedy(tmp_path: Path) -> None:
    fault = cannot_write(tmp_path / "r.nrrd", OSError(28, "No space left on device"))
    assert "the disk is full" in fault.message
    assert "Free some space" in fault.hint


def test_a_full_disk_of_which_the_writer_says_nothing_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 0}))
    assert "the disk is full" in failing(tmp_path / "r.nrrd", lambda path: path.write_bytes(b"")).message


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    with pytest.raises(UserError) as caught:
        write_text(tmp_path / "f" / "r.csv", "x")
    assert caught.value.code == "cannot-write"
    assert (tmp_path / "f").read_text() == "old"


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ValueError, MemoryError])
def test_other_exceptions_pass_and_leave_nothing(tmp_path: Path, fault: type[BaseException]) -> None:
    def write() -> None:
        with replacing(tmp_path / "r.csv") as temporary:
            temporary.write_text("x")
            raise fault

    with pytest.raises(fault):
        write()
    assert list(tmp_path.iterdir()) == []


def test_empty_files_are_written_where_they_are_meant(tmp_path: Path) -> None:
    write_bytes(tmp_path / "r", b"")
    write_text(tmp_path / "t", "ü\r\n")
    assert (tmp_path / "r").read_bytes() == b""
    assert (tmp_path / "t").read_bytes() == b"\xc3\xbc\r\n"


def test_names_that_are_no_utf_8_do_not_stop_a_report(tmp_path: Path) -> None:
    write_text(tmp_path / "t", "M\udcfcller")
    assert (tmp_path / "t").read_bytes() == b"M\\udcfcller"


def test_both_small_files_import_the_standard_library_only() -> None:
    code = "import sys; import mimseg.files, mimseg.formats; print('numpy' in sys.modules, 'SimpleITK' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
