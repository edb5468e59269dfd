"""Can a reader's browser tell real from synthetic without looking at a picture?

Everything that a browser can fetch is harvested, and a classifier is trained on all of it but the pixels: sizes, ids,
order, headers, the pages' text. It must be at chance, by an exact binomial test on cases it was not trained on. So that
"at chance" means something, the pictures are an attacker's delight (real ones noise, synthetic ones flat, so any
compression tells them apart), and the same classifier is shown to find the leak where pictures are served as stored.

Time is left out: a reply takes as long as the machine is busy, and nothing on the way looks at the truth of a main case
(the rules read `presentation`, `picture` and `reading`, and `case` only to tell of practice).
"""

import re
import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from scipy.stats import binomtest

from histosynth.config import StudySettings
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.png import decode_png, encode_png
from histosynth.store.store import write_manifest
from histosynth.study.app import create_app
from histosynth.study.design.create import CreatedStudy, create
from histosynth.study.records.database import Case, Presentation, open_study, sqlite_url

LABELS = ("IDHmut", "IDHwt")
CASES, READERS, REPEATS = 60, 2, 8
HOST = "http://testserver"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> CreatedStudy:
    root, rng = tmp_path_factory.mktemp("leak"), np.random.default_rng(0)

    def store(name: str, patches: list[Patch]) -> Path:
        (root / name).mkdir()
        write_part(part_path(root / name, "a"), patches, fingerprint="f")
        write_manifest(root / name, {})
        return root / name

    real = store("tissue", [
        Patch(patch_id=f"slide_{i}", image=rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), source="real", mpp=0.5,
              label=LABELS[i % 2], patient_id=f"TCGA-{i % 9}", split="held_out")
        for i in range(120)
    ])  # fmt: skip
    fake = store("samples", [
        Patch(patch_id=f"unet_{i}", image=np.full((16, 16, 3), i, np.uint8), source="unet", mpp=0.5,
              label=LABELS[i % 2], texts={"Description": "synthetic"})
        for i in range(120)
    ])  # fmt: skip
    settings = StudySettings(cases=CASES, readers=READERS, practice=4, repeats=REPEATS, base_url=HOST)
    return create(real, [(None, fake)], out=root / "study", settings=settings, progress=False)


class Harvest:
    """All that the readers' browsers were given, reply by reply, for each main presentation."""

    def __init__(self, study: CreatedStudy) -> None:
        self.replies: dict[str, dict[str, tuple[dict[str, str], bytes]]] = {}
        self.places: dict[str, int] = {}
        database = open_study(study.study)
        app = create_app(sqlite_url(study.study))
        for link in study.links.values():
            self._read(TestClient(app, base_url=HOST, headers={"Sec-Fetch-Site": "same-origin"}), link)
        with database.read_session() as session:
            joined = session.query(Presentation.presentation_id, Case.truth, Presentation.case_id)
            rows = joined.join(Case, Case.case_id == Presentation.case_id).where(Presentation.part == "main").all()
            self.truth = {shown: truth == "real" for shown, truth, _ in rows}
            self.case = {shown: case for shown, _, case in rows}
            self.hidden = {
                value for case in session.query(Case)
                for value in (case.case_id, case.patch_id, case.label, case.patient_id, case.source) if value != "real"
            } - {None}  # fmt: skip

    def _read(self, http: TestClient, link: str) -> None:
        http.get(link)
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', http.get("/welcome").text))
        http.post("/welcome", data=fields | {"consent": "yes"})
        place = 0
        while "/answer" in (page := http.get("/case")).text:
            fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))
            shown = fields["presentation"]
            got = {"case": page, "picture": http.get(f"/picture/{shown}"), "now": http.get("/now")}
            said = {"said": secrets.choice(["real", "synthetic"]), "confidence": 3, "visible_ms": 0}
            got["answer"] = http.post("/answer", data=fields | said, headers={"Accept": "application/json"})
            place += 1
            if "Practice" not in page.text:
                assert all(reply.status_code == 200 for reply in got.values())
                self.replies[shown] = {what: (dict(reply.headers), reply.content) for what, reply in got.items()}
                self.places[shown] = place


@pytest.fixture(scope="module")
def harvest(study: CreatedStudy) -> Harvest:
    return Harvest(study)


def without_pixels(png: bytes) -> bytes:
    """A PNG's structure: the length and kind of each chunk, and what is in those that hold no pixels."""
    told, at = png[:8], 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4])
        kind = png[at + 4 : at + 8]
        told += png[at : at + 8] + (b"" if kind == b"IDAT" else png[at + 8 : at + 12 + length])
        at += length + 12
    return told


def features(harvest: Harvest, picture: Callable[[str, bytes], bytes] = lambda _, png: png) -> np.ndarray:
    """A row of numbers a presentation: its place, its id, and of each reply the headers, length and text."""
    rows = []
    for shown, replies in harvest.replies.items():
        place = harvest.places[shown]
        row = [place, place % 2, place % 3, *bytes.fromhex(shown)]
        for what, (headers, content) in replies.items():
            body = picture(shown, content) if what == "picture" else content
            structure = without_pixels(body) if what == "picture" else body
            row += [len(body), len(structure), sum(structure) % 9973, np.bincount(list(structure), minlength=256).std()]
            for name in sorted(headers):
                value = str(len(body)) if name == "content-length" else headers[name]
                row += [len(value), sum(value.encode()) % 997, sum(ord(c) for c in value if c.isdigit())]
        rows.append(row)
    return np.array(rows, float)


def held_out_accuracy(x: np.ndarray, truth: np.ndarray, cases: np.ndarray) -> tuple[int, int]:
    """Of ridge-penalized logistic regression, five folds by case: how many it gets right, of how many."""
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    x, right = np.column_stack([x, np.ones(len(x))]), 0
    for fold in np.array_split(np.random.default_rng(0).permutation(np.unique(cases)), 5):
        test = np.isin(cases, fold)
        weights = np.zeros(x.shape[1])
        for _ in range(25):  # Newton
            p = 1 / (1 + np.exp(-x[~test] @ weights))
            gradient = x[~test].T @ (p - truth[~test]) + weights
            hessian = (x[~test].T * (p * (1 - p))) @ x[~test] + np.eye(len(weights))
            weights -= np.linalg.solve(hessian, gradient)
        right += int(((x[test] @ weights > 0) == truth[test]).sum())
    return right, len(x)


def test_no_classifier_tells_real_from_synthetic_without_the_pixels(harvest):
    shown = list(harvest.replies)
    assert len(shown) == READERS * (CASES + REPEATS)
    truth = np.array([harvest.truth[s] for s in shown])
    cases = np.array([harvest.case[s] for s in shown])
    right, of = held_out_accuracy(features(harvest), truth, cases)
    # Fair guesses come this far out once in ten thousand runs: ids are truly random, so runs differ.
    assert binomtest(right, of, 0.5).pvalue > 1e-4, f"{right} of {of}"


def test_the_same_classifier_finds_compression(harvest):
    shown = list(harvest.replies)
    truth = np.array([harvest.truth[s] for s in shown])
    cases = np.array([harvest.case[s] for s in shown])

    def as_stored(_: str, png: bytes) -> bytes:
        return encode_png(decode_png(png))

    right, of = held_out_accuracy(features(harvest, as_stored), truth, cases)
    assert right > 0.95 * of


def test_pages_of_all_cases_are_one_page(harvest):
    """Apart from the showing's id and the counter, byte for byte: there is nothing to classify."""
    pages, replies, structures, headers = set(), set(), set(), set()
    for shown, got in harvest.replies.items():
        text = got["case"][1].decode().replace(shown, "ID")
        text = re.sub(r'(name="csrf" value=)"\w+"', r"\1", text)
        pages.add(re.sub(r"\b\d+\b(?= of \d+)|value=\"\d+\"|\b\d+&nbsp;of", "N", text))
        last = got["answer"][1].decode().replace(shown, "ID")
        replies.add(last.replace("/thanks", "/case"))
        structures.add(without_pixels(got["picture"][1]))
        for what in ("picture", "now"):
            headers.add((what, *sorted((name, value) for name, value in got[what][0].items() if name != "date")))
    assert len(pages) == 1, pages
    assert len(replies) == 1
    assert len(structures) == 1
    assert len(headers) == 2  # one of each kind of reply


def test_nothing_names_the_truth(harvest, study):
    content = b"".join(
        content if what != "picture" else without_pixels(content)
        for got in harvest.replies.values() for what, (_, content) in got.items()
    )  # fmt: skip
    said = repr([headers for got in harvest.replies.values() for headers, _ in got.values()]).encode()
    for hidden in harvest.hidden:
        assert hidden.encode() not in content + said, hidden
    assert len(harvest.hidden) > 2 * CASES


def test_ids_are_of_no_use_from_reader_to_reader(harvest):
    """The same case has another id for each reader and each repeat, so readers who compare ids learn nothing."""
    assert len(set(harvest.replies)) == READERS * (CASES + REPEATS)
    assert all(re.fullmatch(r"[0-9a-f]{32}", shown) for shown in harvest.replies)
    assert len({harvest.case[shown] for shown in harvest.replies}) == CASES
