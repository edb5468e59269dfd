"""Files are complete or absent after any failure; manifests, revisions and locks."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from histosynth import rundir
from histosynth.errors import HistosynthError
from histosynth.rundir import (
    LOCK,
    atomic_write,
    exclusive_lock,
    exclusive_replacement,
    git_revision,
    is_empty,
    provenance,
    read_manifest,
    versions,
    write_json,
    write_text,
)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_complete_file_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    write_text(path, "neu µ")
    assert path.read_bytes() == "neu µ".encode()
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("old", ["old", None])
def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path, error: BaseException, old: str | None) -> None:
    path = tmp_path / "a.txt"
    if old is not None:
        path.write_text(old)

    def write() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert names(tmp_path) == (["a.txt"] if old else [])
    assert old is None or path.read_text() == old


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path) -> None:
    """With a real limit of the operating system: no file may exceed 4 KiB."""
    program = (
        "import resource, signal, sys; from pathlib import Path; from histosynth.rundir import write_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_text(Path(sys.argv[1]), 'x' * 100_000)\n"
        "except OSError as error: sys.exit(error.errno)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.txt")], check=False)
    assert done.returncode == errno.EFBIG
    assert names(tmp_path) == []


def test_torch_reports_a_full_disk_as_such(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys, torch; from pathlib import Path; from histosynth.rundir import atomic_write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    with atomic_write(Path(sys.argv[1])) as file: torch.save(torch.zeros(10_000), file)\n"
        "except OSError as error: sys.exit(error.errno)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.pt")], check=False)
    assert done.returncode == errno.EFBIG
    assert names(tmp_path) == []


def test_a_kill_keeps_the_old_file_and_the_next_write_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    program = (
        "import os, signal, sys; from pathlib import Path; from histosynth.rundir import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"fd": float("nan")})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a run: it has no manifest.json"),
        ("{", "is damaged"),
        ("[1]", "is a directory of another program, not a run"),
        ('{"name": "a web page"}', "is a directory of another program, not a run"),
        ('{"kind": "patch store"}', "is a patch store, not a run"),
    ],
)
def test_a_manifest_of_another_kind_is_rejected(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(HistosynthError, match=message):
        read_manifest(tmp_path, kind="run")


def test_a_manifest_is_read_as_written(tmp_path: Path) -> None:
    content = {"kind": "run", "labels": ["ä", "b"]}
    write_json(tmp_path / "manifest.json", content)
    assert read_manifest(tmp_path, kind="run") == content


def test_a_file_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "slide.svs").touch()
    with pytest.raises(HistosynthError, match="is not a run"):
        read_manifest(tmp_path / "slide.svs", kind="run")


def test_provenance_is_json_and_names_packages_that_can_change_a_result() -> None:
    facts = json.loads(json.dumps(provenance()))
    assert set(facts) == {"versions", "git_revision", "argv", "platform", "cpus"}
    assert {"python", "histosynth", "numpy", "torch", "openslide-bin"} <= set(facts["versions"])
    assert "absent" not in facts["versions"].values()


def test_an_absent_package_is_recorded_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "_PACKAGES", ("no-such-package",))
    assert versions()["no-such-package"] == "absent"


def test_the_revision_is_that_of_the_source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy installed inside another repository must not report the revision of that one."""

    def git(*words: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        done = subprocess.run(["git", *identity, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    copy = tmp_path / "rundir.py"
    copy.write_text("")
    monkeypatch.setattr(rundir, "__file__", str(copy))
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "theirs")
    assert git_revision() is None
    git("add", "rundir.py")
    git("commit", "--quiet", "--message", "ours")
    assert git_revision() == git("rev-parse", "HEAD")
    copy.write_text("changed")
    assert git_revision() == git("rev-parse", "HEAD") + "+changes"


HOLDER = (
    "import sys, time; from pathlib import Path; from histosynth.rundir import exclusive_lock\n"
    "with exclusive_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


def test_a_second_writer_is_rejected_and_a_killed_one_blocks_nobody(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(directory)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with (
        pytest.raises(HistosynthError, match=rf"is being written by another command \(process {holder.pid} on "),
        exclusive_lock(directory),
    ):
        pass
    assert names(directory) == [LOCK]
    holder.kill()
    holder.communicate()
    assert names(directory) == [LOCK]
    assert is_empty(directory)
    with exclusive_lock(directory):
        (directory / "work").touch()
    assert names(directory) == ["work"]
    assert not is_empty(directory)


def test_two_locks_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    with exclusive_lock(tmp_path), pytest.raises(HistosynthError, match="by another command"), exclusive_lock(tmp_path):
        pass
    with exclusive_lock(tmp_path):
        pass


def test_a_lock_without_output_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), exclusive_lock(tmp_path / "a" / "b"):
        raise RuntimeError
    assert names(tmp_path) == []
    (tmp_path / "a").touch()
    with pytest.raises(HistosynthError, match="is a file; pass a directory"), exclusive_lock(tmp_path / "a"):
        pass


def test_concurrent_writers_take_turns(tmp_path: Path) -> None:
    """Each adds one to a number repeatedly: no addition is lost, though the lock file is created and deleted."""
    program = (
        "import sys; from pathlib import Path; from histosynth.rundir import exclusive_lock\n"
        "from histosynth.errors import HistosynthError\n"
        "number, done = Path(sys.argv[1]) / 'number', 0\n"
        "while done < 100:\n"
        "    try:\n"
        "        with exclusive_lock(number.parent): number.write_text(str(int(number.read_text()) + 1))\n"
        "    except HistosynthError: continue\n"
        "    done += 1"
    )
    (tmp_path / "number").write_text("0")
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "300"
    assert names(tmp_path) == ["number"]


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
@pytest.mark.parametrize("write", ["lock", "text"])
def test_a_link_in_the_place_of_a_file_is_never_followed(
    tmp_path: Path, link: Callable[[Path, Path], None], write: str
) -> None:
    """Somebody else with access to the directory may have put it there, to have the file behind it overwritten."""
    victim, directory = tmp_path / "victim", tmp_path / "shared"
    victim.write_text("precious")
    directory.mkdir()
    link(directory / (LOCK if write == "lock" else ".a.txt.tmp"), victim)
    writing = exclusive_lock(directory) if write == "lock" else atomic_write(directory / "a.txt")
    with pytest.raises(HistosynthError, match=r"link.*; delete it"), writing:
        pass
    assert victim.read_text() == "precious"


def test_a_named_pipe_in_the_place_of_a_lock_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK)
    with pytest.raises(HistosynthError, match="no regular file"), exclusive_lock(tmp_path):
        pass


def test_only_one_command_replaces_a_directory(tmp_path: Path) -> None:
    out = tmp_path / "a" / "report"
    with exclusive_replacement(out):
        out.mkdir()
        with pytest.raises(HistosynthError, match=r"report is being written by another"), exclusive_replacement(out):
            pass
        out.rename(tmp_path / "old")  # the lock holds although the directory is replaced
        with pytest.raises(HistosynthError, match=r"report is being written by another"), exclusive_replacement(out):
            pass
    with exclusive_replacement(out):
        pass
    assert names(tmp_path / "a") == []


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"kind": ' * 100_000, b"\xff", b"9" * 10_000, b'"\\ud800"'])
def test_a_hostile_manifest_gives_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(HistosynthError, match="is damaged"):
        read_manifest(tmp_path, kind="run")
