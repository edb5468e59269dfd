"""A reader's browser cannot tell real from synthetic without looking at the pixels.

The test collects everything that a browser can fetch, and trains a classifier on all of it except the pixels: sizes,
ids, order, headers, the text of the pages. The classifier must be at chance, by an exact binomial test on cases that it
was not trained on. To make this a strong test, the pictures are easy to tell apart by any compression (real ones are
noise, synthetic ones flat), and the same classifier is shown to find the leak if pictures are served as stored.

Time is not tested: how long a reply takes depends on the load of the machine, and no code on its path reads the truth
of a main case (the rules read `presentation`, `picture` and `reading`, and `case` only for the feedback of practice).
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
from histosynth.study.records.database import open_study
from histosynth.study.records.tables import Case, Presentation

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
    """All replies that the readers' browsers received, for each main presentation."""

    def __init__(self, study: CreatedStudy) -> None:
        self.replies: dict[str, dict[str, tuple[dict[str, str], bytes]]] = {}
        self.positions: dict[str, int] = {}
        database = open_study(study.study)
        app = create_app(database)
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
        position = 0
        while "/answer" in (page := http.get("/case")).text:
            fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))
            shown = fields["presentation"]
            replies = {"case": page, "picture": http.get(f"/picture/{shown}"), "now": http.get("/now")}
            answer = {"said": secrets.choice(["real", "synthetic"]), "confidence": 3, "visible_ms": 0}
            replies["answer"] = http.post("/answer", data=fields | answer, headers={"Accept": "application/json"})
            position += 1
            if "Practice" not in page.text:
                assert all(reply.status_code == 200 for reply in replies.values())
                self.replies[shown] = {kind: (dict(reply.headers), reply.content) for kind, reply in replies.items()}
                self.positions[shown] = position


@pytest.fixture(scope="module")
def harvest(study: CreatedStudy) -> Harvest:
    return Harvest(study)


def without_pixels(png: bytes) -> bytes:
    """Return the structure of a PNG: length and kind of each chunk, and the content of chunks without pixels."""
    structure, at = png[:8], 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4])
        kind = png[at + 4 : at + 8]
        structure += png[at : at + 8] + (b"" if kind == b"IDAT" else png[at + 8 : at + 12 + length])
        at += length + 12
    return structure


def features(harvest: Harvest, picture: Callable[[str, bytes], bytes] = lambda _, png: png) -> np.ndarray:
    """Return a row of numbers per presentation: its position and id, and headers, length and text of each reply."""
    rows = []
    for shown, replies in harvest.replies.items():
        position = harvest.positions[shown]
        row = [position, position % 2, position % 3, *bytes.fromhex(shown)]
        for kind, (headers, content) in replies.items():
            body = picture(shown, content) if kind == "picture" else content
            structure = without_pixels(body) if kind == "picture" else body
            row += [len(body), len(structure), sum(structure) % 9973, np.bincount(list(structure), minlength=256).std()]
            for name in sorted(headers):
                value = str(len(body)) if name == "content-length" else headers[name]
                row += [len(value), sum(value.encode()) % 997, sum(ord(c) for c in value if c.isdigit())]
        rows.append(row)
    return np.array(rows, float)


def held_out_accuracy(x: np.ndarray, truth: np.ndarray, cases: np.ndarray) -> tuple[int, int]:
    """Return how many presentations ridge logistic regression classifies correctly, of how many; five folds by case."""
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


def test_a_classifier_without_pixels_is_at_chance(harvest):
    shown = list(harvest.replies)
    assert len(shown) == READERS * (CASES + REPEATS)
    truth = np.array([harvest.truth[s] for s in shown])
    cases = np.array([harvest.case[s] for s in shown])
    right, of = held_out_accuracy(features(harvest), truth, cases)
    # Guessing fails this test once in ten thousand runs: ids are random, so runs differ.
    assert binomtest(right, of, 0.5).pvalue > 1e-4, f"{right} of {of}"


def test_the_same_classifier_detects_compression(harvest):
    shown = list(harvest.replies)
    truth = np.array([harvest.truth[s] for s in shown])
    cases = np.array([harvest.case[s] for s in shown])

    def as_stored(_: str, png: bytes) -> bytes:
        return encode_png(decode_png(png))

    right, of = held_out_accuracy(features(harvest, as_stored), truth, cases)
    assert right > 0.95 * of


def test_the_pages_of_all_cases_are_identical(harvest):
    """They are equal byte for byte, except for the presentation's id and the counter."""
    pages, replies, structures, headers = set(), set(), set(), set()
    for shown, replies_of in harvest.replies.items():
        text = replies_of["case"][1].decode().replace(shown, "ID")
        text = re.sub(r'(name="csrf" value=)"\w+"', r"\1", text)
        pages.add(re.sub(r"\b\d+\b(?= of \d+)|value=\"\d+\"|\b\d+&nbsp;of", "N", text))
        last = replies_of["answer"][1].decode().replace(shown, "ID")
        replies.add(last.replace("/thanks", "/case"))
        structures.add(without_pixels(replies_of["picture"][1]))
        for kind in ("picture", "now"):
            headers.add((kind, *sorted((name, value) for name, value in replies_of[kind][0].items() if name != "date")))
    assert len(pages) == 1, pages
    assert len(replies) == 1
    assert len(structures) == 1
    assert len(headers) == 2  # one per kind of reply


def test_no_reply_contains_the_truth(harvest, study):
    content = b"".join(
        content if kind != "picture" else without_pixels(content)
        for replies in harvest.replies.values() for kind, (_, content) in replies.items()
    )  # fmt: skip
    headers = repr([headers for replies in harvest.replies.values() for headers, _ in replies.values()]).encode()
    for hidden in harvest.hidden:
        assert hidden.encode() not in content + headers, hidden
    assert len(harvest.hidden) > 2 * CASES


def test_ids_differ_between_readers_and_repeats(harvest):
    """The same case has a different id for each reader and each repeat, so readers who compare ids learn nothing."""
    assert len(set(harvest.replies)) == READERS * (CASES + REPEATS)
    assert all(re.fullmatch(r"[0-9a-f]{32}", shown) for shown in harvest.replies)
    assert len({harvest.case[shown] for shown in harvest.replies}) == CASES
