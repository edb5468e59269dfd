"""Load test of the reader study: fifty readers at once on one server, no answer lost or stored twice, and latencies.

The script makes a study of 200 cases and 50 readers, starts `histosynth study serve` as a separate process, and lets 50
clients read the study to the end over HTTP as fast as they can. Each client opens its link, consents, and for each case
fetches the page and its picture and sends the answer, again and again until the server confirms that it is stored. At
the end, the database must contain exactly the acknowledged answers, as they were given: 10,000 in all.

The second run is the same, but the server is killed (SIGKILL) and restarted ten times in the middle. One answer in
twenty is sent twice at once, as by a double click.

Latencies are those of the POST of an answer, from sending it to the reply; clients and server share the machine. In the
first two runs, nobody pauses between cases, so the server is as busy as possible, and each client waits for all others.
In the third run, 50 readers of 20 cases look at each case for some seconds (4 on average, exponential), which is still
quick for a pathologist.

Needs the extra `study` (and httpx). Takes six minutes on two otherwise idle cores; `--quick` (10 readers, 20 cases,
3 kills) takes some seconds; `--only NAME` makes one run. The last line is JSON.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from histosynth.config import StudySettings
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import write_manifest
from histosynth.study.design.create import create

PX = 128
DOUBLE_CLICK_SHARE = 0.05
REQUEST_TIMEOUT_S = 10.0


@dataclass
class Server:
    """The server process, which can be killed and restarted on the same port."""

    study: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0

    def start(self) -> None:
        """Start the server; `ready` waits for it."""
        command = [sys.executable, "-m", "histosynth", "study", "serve", str(self.study), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """Kill the server, as a power failure would, without a shutdown."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    async def ready(self) -> None:
        """Wait until the server accepts connections."""
        for _ in range(600):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return
        raise RuntimeError("the server did not start")


@dataclass
class Measurements:
    """The acknowledged answers and latencies of the clients."""

    acknowledged: dict[str, tuple[str, int]] = field(default_factory=dict)
    post_s: list[float] = field(default_factory=list)
    picture_s: list[float] = field(default_factory=list)
    until_stored_s: list[float] = field(default_factory=list)
    tries: int = 0
    doubled_posts: int = 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_study(root: Path, *, readers: int, cases: int) -> tuple[Path, list[str]]:
    """Make a study with pictures of noise, since the server does not look at them."""
    rng = np.random.default_rng(0)
    stores = {}
    for source in ("real", "model"):
        more = {"split": "held_out", "patient_id": "p"} if source == "real" else {}
        patches = [
            Patch(patch_id=f"{source}_{i}", image=rng.integers(0, 256, (PX, PX, 3), dtype=np.uint8), source=source,
                  mpp=0.5, **more)
            for i in range(cases // 2)
        ]  # fmt: skip
        (root / source).mkdir()
        write_part(part_path(root / source, "a"), patches, fingerprint="f")
        write_manifest(root / source, {})
        stores[source] = root / source
    settings = StudySettings(cases=cases, readers=readers)
    created = create(stores["real"], [(None, stores["model"])], out=root / "study", settings=settings, progress=False)
    return created.study, [link.rpartition("/")[2] for link in created.links.values()]


async def request_with_retries(
    http: httpx.AsyncClient, method: str, path: str, **more: object
) -> tuple[httpx.Response, float]:
    """Retry until the server replies, as the page's script does; return the reply and the latency of the last try."""
    wait = 0.05
    while True:
        began = time.perf_counter()
        try:
            reply = await http.request(method, path, **more)  # type: ignore[arg-type]
            if reply.status_code < 500:
                return reply, time.perf_counter() - began
        except httpx.TransportError:
            pass
        await asyncio.sleep(wait * random.uniform(0.75, 1.25))
        wait = min(2 * wait, 1.0)


async def read(port: int, token: str, measured: Measurements, *, pause_s: float) -> None:
    """Read as one reader, from the link to the last case."""
    hidden = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"Sec-Fetch-Site": "same-origin"}, timeout=REQUEST_TIMEOUT_S
    ) as http:
        await request_with_retries(http, "GET", f"/r/{token}")
        welcome, _ = await request_with_retries(http, "GET", "/welcome")
        await request_with_retries(
            http, "POST", "/welcome", data=dict(hidden.findall(welcome.text)) | {"consent": "yes"}
        )
        while True:
            page, _ = await request_with_retries(http, "GET", "/case")
            if page.status_code == 303:  # to /thanks
                return
            fields = dict(hidden.findall(page.text))
            presentation = fields["presentation"]
            _, took = await request_with_retries(http, "GET", f"/picture/{presentation}")
            measured.picture_s.append(took)
            await asyncio.sleep(pause_s and random.expovariate(1 / pause_s))
            said, confidence = random.choice(["real", "synthetic"]), random.randint(1, 5)
            form = fields | {"said": said, "confidence": str(confidence), "visible_ms": "1000"}
            began = time.perf_counter()
            clicks = 2 if random.random() < DOUBLE_CLICK_SHARE else 1
            measured.doubled_posts += clicks - 1
            replies = await asyncio.gather(
                *(
                    request_with_retries(http, "POST", "/answer", data=form, headers={"Accept": "application/json"})
                    for _ in range(clicks)
                )
            )
            for reply, took in replies:
                assert reply.status_code == 200, (reply.status_code, reply.text)
                assert reply.json()["saved"] == presentation
                measured.post_s.append(took)
            measured.until_stored_s.append(time.perf_counter() - began)
            measured.acknowledged[presentation] = (said, confidence)


async def kill_repeatedly(server: Server, measured: Measurements, *, planned: int, kills: int) -> None:
    for number in range(1, kills + 1):
        while len(measured.acknowledged) < planned * number // (kills + 1):
            await asyncio.sleep(0.02)
        server.kill()
        server.kills += 1
        server.start()


async def run(*, readers: int, cases: int, kills: int = 0, pause_s: float = 0) -> dict[str, object]:
    """Read one study to the end and return the measurements."""
    with tempfile.TemporaryDirectory() as directory:
        study, tokens = make_study(Path(directory), readers=readers, cases=cases)
        server, measured = Server(study, free_port()), Measurements()
        server.start()
        try:
            await server.ready()
            began = time.perf_counter()
            killer = asyncio.create_task(kill_repeatedly(server, measured, planned=readers * cases, kills=kills))
            await asyncio.gather(*(read(server.port, token, measured, pause_s=pause_s) for token in tokens))
            wall = time.perf_counter() - began
            await killer
        finally:
            server.kill()
        file = sqlite3.connect(study / "study.db")
        stored = file.execute("SELECT presentation_id, said, confidence FROM reading").fetchall()
        whole = file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        finished = file.execute("SELECT count(*) FROM reader WHERE finished_at IS NOT NULL").fetchone()[0]
        file.close()
    by_presentation = {presentation: (said, confidence) for presentation, said, confidence in stored}
    return {
        "readers": readers,
        "planned": readers * cases,
        "acknowledged": len(measured.acknowledged),
        "stored": len(stored),
        "lost": sum(by_presentation.get(p) != answer for p, answer in measured.acknowledged.items()),
        "doubled": len(stored) - len(by_presentation),
        "never_given": len(by_presentation.keys() - measured.acknowledged.keys()),
        "finished": finished,
        "database_whole": whole,
        "kills": server.kills,
        "sent_twice": measured.doubled_posts,
        "load_average": os.getloadavg()[1],
        "wall_s": round(wall, 1),
        "answers_per_s": round(len(stored) / wall, 1),
        "post_ms": percentiles(measured.post_s),
        "until_stored_ms": percentiles(measured.until_stored_s),
        "picture_ms": percentiles(measured.picture_s),
    }


def percentiles(seconds: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(seconds, q)) * 1000, 1) for q in (50, 95, 99, 100)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 readers, 20 cases, 3 kills")
    parser.add_argument("--only", choices=["undisturbed", "killed", "paced"], help="one run")
    options = parser.parse_args()
    readers, cases, kills, paced, pause_s = (10, 20, 3, 6, 0.5) if options.quick else (50, 200, 10, 20, 4.0)
    runs = {
        "undisturbed": {"cases": cases},
        "killed": {"cases": cases, "kills": kills},
        "paced": {"cases": paced, "pause_s": pause_s},
    }
    results = {}
    for name, settings in runs.items():
        if options.only in (None, name):
            results[name] = asyncio.run(run(readers=readers, **settings))
            print(name, json.dumps(results[name], indent=2), flush=True)
    passed = all(
        r["stored"] == r["acknowledged"] == r["planned"] and not r["lost"] and not r["doubled"] and r["database_whole"]
        for r in results.values()
    )
    print(json.dumps({"name": "study_load", "none_lost_none_doubled": passed, **results}))
    sys.exit(not passed)


if __name__ == "__main__":
    main()
