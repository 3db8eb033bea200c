"""A folder of one's own pictures to a report, as the README says."""

import re

import numpy as np
import pytest
from PIL import Image

from checkouts import REPOSITORY, copy_repository

pytestmark = pytest.mark.workflow


def readme_configuration():
    section = (REPOSITORY / "README.md").read_text().partition("## Your own images")[2]
    (text,) = re.findall(r"cat > mine.yaml <<'END'\n(.*?)END\n", section, re.S)
    return text


def draw_pictures(folder):
    """Two hundred pictures of three classes: squares, crosses and rings on noise."""
    draws = np.random.default_rng(0)
    for name, count in {"square": 70, "cross": 70, "ring": 60}.items():
        (folder / name).mkdir(parents=True)
        for k in range(count):
            pixels = draws.integers(0, 60, (20, 20)).astype(np.uint8)
            row, column = draws.integers(2, 10, 2)
            part = pixels[row : row + 8, column : column + 8]
            if name == "cross":
                part[3:5] = part[:, 3:5] = 220
            else:
                part[:] = 200
            if name == "ring":
                part[2:6, 2:6] = 20
            Image.fromarray(pixels).save(folder / name / f"{k}.png")


def test_a_folder_of_pictures_to_a_report(tmp_path):
    checkout = copy_repository(tmp_path / "clone")
    draw_pictures(tmp_path / "pictures")
    text = readme_configuration().replace("~/pictures", str(tmp_path / "pictures"))
    # whether random labels fit is not asked here
    text = text.replace("steps: [1500]", "steps: [200]")
    (checkout.folder / "mine.yaml").write_text(text)
    run = ("workflow/run.py",)
    # a picture that is none is told by name, before anything runs
    stray = tmp_path / "pictures" / "ring" / "notes.png"
    stray.write_text("no picture")
    told = checkout.snakemake(config="mine.yaml", command=run, check=False)
    assert told.returncode == 1
    assert "ring/notes.png" in told.stderr
    assert not (checkout.folder / "results").exists()
    stray.unlink()

    # pilots alone
    checkout.snakemake(config="mine.yaml", command=(*run, "pilot", "--forcerun", "pilot"))
    results = checkout.folder / "results"
    piloted = {path.parent.name for path in results.glob("networks/*/weights.safetensors")}
    assert "Pilot of mine:" in (results / "mine" / "pilot.txt").read_text()

    done = checkout.snakemake(config="mine.yaml", command=run)
    assert (results / "mine" / "report.html").is_file(), done.stdout + done.stderr
    trained = {path.parent.name for path in results.glob("networks/*/weights.safetensors")}
    assert piloted < trained
    # everything is there
    again = checkout.snakemake(config="mine.yaml", command=run)
    assert "Nothing to be done" in again.stdout + again.stderr

    # a picture changes: other networks
    first = tmp_path / "pictures" / "ring" / "0.png"
    Image.fromarray(255 - np.asarray(Image.open(first))).save(first)
    changed = checkout.snakemake("--dry-run", config="mine.yaml", command=run)
    assert re.search(r"mine: (\d+) networks on mine; 0 are trained, \1 to train", changed.stderr)
