"""The commands of `histosynth study` that create and serve a study and manage its links."""

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from histosynth import cli
from histosynth.inspect.describe import describe
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import write_manifest
from histosynth.study.records.database import open_study
from histosynth.study.records.links import create_organizer_link

LINK = r"http://127\.0\.0\.1:8000/r/([\w-]{22})"


@pytest.fixture
def stores(tmp_path: Path) -> tuple[str, ...]:
    rng = np.random.default_rng(0)
    for source in ("real", "unet"):
        more = {"split": "held_out", "patient_id": "p"} if source == "real" else {}
        patches = [
            Patch(patch_id=f"{source}-{i}", image=image, source=source, mpp=0.5, **more)
            for i, image in enumerate(rng.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8))
        ]
        (tmp_path / source).mkdir()
        write_part(part_path(tmp_path / source, "a"), patches, fingerprint="f")
        write_manifest(tmp_path / source, {})
    return ("--real", str(tmp_path / "real"), "--fake", str(tmp_path / "unet"), "--cases", "8", "--quiet")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `histosynth study …`; return exit code, standard output and standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["histosynth", "study", *map(str, words)])
        try:
            cli.main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_links_are_printed_but_not_stored(run, stores, tmp_path):
    code, out, err = run("create", *stores, "--readers", 3, "--out", tmp_path / "study")
    assert (code, err) == (0, "")
    tokens = re.findall(rf"Reader \d +{LINK}", out)
    assert len(set(tokens)) == 3
    assert "! It is not known what unet was trained on" in out
    assert "! All real cases come from one patient" in out
    assert not any(token.encode() in path.read_bytes() for token in tokens for path in (tmp_path / "study").iterdir())
    code, out, _ = run("links", "new", tmp_path / "study", "Reader 2")
    assert code == 0
    assert re.match(LINK, out)[1] not in tokens
    assert run("links", "revoke", tmp_path / "study", 3)[1] == "the link is revoked\n"
    assert re.match(r"the link is valid until \d{4}-", run("links", "extend", tmp_path / "study", 1, "--days", 3)[1])


def test_create_prints_json(run, stores, tmp_path):
    code, out, _ = run("create", *stores, "--out", tmp_path / "study", "--json", "--base-url", "https://read.example/")
    assert code == 0
    facts = json.loads(out)
    assert set(facts["links"]) == {"Reader 1", "Reader 2"}
    assert all(link.startswith("https://read.example/r/") for link in facts["links"].values())
    assert len(facts["warnings"]) == 3


def test_info_describes_the_design(run, stores, tmp_path):
    assert run("create", *stores, "--out", tmp_path / "study", "--seed", 3)[0] == 0
    facts = describe(tmp_path / "study")
    assert facts["kind"] == "reader study"
    assert (facts["readers"], facts["seed"], facts["cases"]) == (2, 3, {"main": {"real": 4, "unet": 4}})


def test_models_may_be_named(run, stores, tmp_path):
    words = ("create", *stores[:2], "--fake", f"a={tmp_path / 'unet'}", "--fake", f"b={tmp_path / 'unet'}", "--quiet")
    code, out, _ = run(*words, "--cases", "8", "--out", tmp_path / "study")
    assert code == 0
    assert re.search(r"main +2  a\nmain +2  b\nmain +4  real\n", out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--margin", "0.7"), "--margin 0.7: input should be less than 0.5"),
        (("--base-url", "ftp://x"), "--base-url 'ftp://x': string should match pattern"),
        (("--practice", "3"), "--practice 3: input should be a multiple of 2"),
        (("--cases", "7"), "pass a multiple of 2 as --cases, such as 6 or 8"),
        (("--cases", "20"), "pass --cases 16 or fewer"),
        (("--normalize", "x"), "unknown normalizer 'x'"),
        (("--database", "nonsense"), "--database is not a database URL"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(run, stores, tmp_path, words, message):
    before = set(tmp_path.iterdir())
    code, out, err = run("create", *stores, *words, "--out", tmp_path / "study")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"histosynth: error: .*\n", err)
    assert message in err
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "words", [("serve",), ("links", "new", "1"), ("links", "revoke", "1"), ("links", "extend", "1")]
)
def test_a_directory_without_a_study_is_rejected(run, tmp_path, words):
    code, _, err = run(*words[:2], tmp_path, *words[2:])
    assert code == 2
    assert "is not a study: it has no study.db" in err


def test_unknown_readers_and_steps(run, stores, tmp_path):
    assert run("create", *stores, "--out", tmp_path / "study")[0] == 0
    assert "no reader '7'; the readers are: Reader 1, Reader 2" in run("links", "new", tmp_path / "study", "7")[2]
    assert "no step 'creat' (did you mean 'create'?)" in run("creat")[2]


def test_a_missing_extra_is_named(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    code, _, err = run("links", "new", tmp_path, "1")
    assert code == 2
    assert "needs sqlalchemy" in err
    assert "pip install 'histosynth[study]'" in err


def test_serve_runs_until_killed_and_prints_the_organizer_s_link_once(run, stores, tmp_path):
    _, out, _ = run("create", *stores, "--out", tmp_path / "study")
    token = re.search(LINK, out)[1]
    organizer_links = []
    for _ in range(2):
        server = subprocess.Popen(
            [sys.executable, "-m", "histosynth", "study", "serve", str(tmp_path / "study"), "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            out = ""
            while not (at := re.search(r"serving +(http://127\.0\.0\.1:\d+)\n", out)):
                out += server.stdout.readline()
            reply = httpx.get(f"{at[1]}/r/{token}", timeout=60)
        finally:
            server.send_signal(signal.SIGINT)
            rest, err = server.communicate(timeout=60)
        assert (server.returncode, err) == (0, "")
        assert (reply.status_code, reply.headers["Location"]) == (303, "/")
        assert token not in out + rest
        organizer_links.append(re.findall(r"http://127\.0\.0\.1:8000/organizer/[\w-]{22}", out))
    assert [len(links) for links in organizer_links] == [1, 0]


def test_a_port_in_use_is_reported_and_no_link_is_lost(run, stores, tmp_path):
    assert run("create", *stores, "--out", tmp_path / "study")[0] == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = run("serve", tmp_path / "study", "--port", port)
    assert (code, out) == (2, "")
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in err
    assert create_organizer_link(open_study(tmp_path / "study")) is not None
