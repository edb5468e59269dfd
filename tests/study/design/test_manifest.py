"""The manifest of a study: `info` describes it, and 500 damaged copies end in success or in one line."""

from histosynth.cli.info import as_lines
from histosynth.inspect.describe import describe
from histosynth.rundir import MANIFEST
from limits import attempt
from mutations import JsonMutations


def test_info_describes_a_study_and_rejects_damaged_manifests(tmp_path, real, samples, make):
    make(real, samples("run"), out=tmp_path / "study")
    facts = describe(tmp_path / "study")
    assert (facts["kind"], facts["readers"], facts["side_px"], facts["mpp"]) == ("reader study", 3, 16, 0.5)
    assert sum(facts["cases"]["main"].values()) == 16
    assert sum(facts["cases"]["practice"].values()) == 4
    assert set(facts["patients"]) == {"IDHmut", "IDHwt"}

    manifest, refused = tmp_path / "study" / MANIFEST, 0
    for copy in JsonMutations(manifest.read_bytes(), count=500):
        manifest.write_bytes(copy)
        refused += attempt(lambda: as_lines(describe(tmp_path / "study"))) is not None
    assert 50 < refused < 500
