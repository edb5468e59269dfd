"""What tests of the outlining tool share: a slide of drawn tissue, and what a page does."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from histosynth.config import PatchSettings

SIDE = 1200
MPP = 0.5
SETTINGS = PatchSettings(region_px=64, region_mpp=1.0, patch_px=32, cap=12)


def draw_tissue(path: Path, seed: int = 0) -> None:
    """Write a PNG of violet tissue with nuclei, a disk on glass."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.full((SIDE, SIDE, 3), 245, np.uint8)
    tissue = (x - SIDE / 2) ** 2 + (y - SIDE / 2) ** 2 < (SIDE * 0.45) ** 2
    image[tissue] = [200, 150, 200]
    for cx, cy in rng.integers(0, SIDE, (3000, 2)):
        box = image[max(0, cy - 4) : cy + 4, max(0, cx - 4) : cx + 4]
        box[box[..., 1] == 150] = [90, 50, 140]
    image[tissue] = np.clip(image[tissue] + rng.normal(0, 6, (tissue.sum(), 3)), 0, 255)
    Image.fromarray(image).save(path)


class Page:
    """What a page does: it opens a link, and sends strokes with what it knows."""

    def __init__(self, client: Any, link: str, state: Any) -> None:
        self.client, self.state = client, state
        assert client.get(f"/open/{link}", follow_redirects=False).status_code == 303

    def get(self, path: str, **options: Any) -> Any:
        response = self.client.get(f"/api/{path}", **options)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: dict[str, Any], status: int = 200) -> Any:
        response = self.client.post(f"/api/{path}", json=body, headers={"X-Histosynth": "1"})
        assert response.status_code == status, response.text
        return response.json()

    def draw(self, slide_id: str = "a", status: int = 200, **stroke: Any) -> Any:
        base = self.get(f"slides/{slide_id}/outlines")["n"]
        return self.post(f"slides/{slide_id}/strokes", {"base": base, "id": str(uuid4()), **stroke}, status)
