"""A search over images in class folders, with everything that a spec can say of its data."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import fednas
from fednas.data import load_dataset, load_digits
from fednas.result import Result
from fednas.spec import load_spec

ROOT = Path(__file__).parents[2]
DATA = [
    "data.partition.shards.perClient=3",
    "data.augment=[crop]",
    "data.normalize={mean: [0.3], std: [0.38]}",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as files, one folder a digit."""
    root, digits = tmp_path_factory.mktemp("digits"), load_digits()
    for split, images, labels in (
        ("train", digits.images, digits.labels),
        ("test", digits.test_images, digits.test_labels),
    ):
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = root / split / f"digit {label}" / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(path)
    return root


def run(folder: Path, data: Path, *overrides: str, workers: int = 1) -> Result:
    small = load_spec(
        ROOT / "examples/small.yaml", ["strategy.netAdapt.maxIterations=1", *overrides]
    )
    return fednas.run(small, dir=folder, data=data, workers=workers, tracking=None)


@pytest.mark.slow
def test_a_search_ends_in_rungs_that_know_their_scale_whoever_ran_it(
    folder: Path, tmp_path: Path
) -> None:
    import torch

    result = run(tmp_path / "one", folder, *DATA)
    rung = result.ladder[-1]
    assert rung.architecture.args["inputMean"] == (0.3,)
    assert len(result.ladder) == 2
    dataset = load_dataset(folder)
    with torch.no_grad():
        network = rung.load()
        logits = network(rung.normalise(dataset.test_images))
        usual = network((torch.from_numpy(dataset.test_images).float() / 255 - 0.5) / 0.25)
    assert (logits.argmax(1).numpy() == dataset.test_labels).mean() == pytest.approx(rung.accuracy)
    assert (usual.argmax(1).numpy() == dataset.test_labels).mean() < rung.accuracy
    again = run(tmp_path / "two", folder, *DATA, workers=2)
    assert [rung.sha256 for rung in again.ladder] == [rung.sha256 for rung in result.ladder]
