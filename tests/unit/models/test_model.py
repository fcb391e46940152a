from __future__ import annotations

from fednas.models import Model, start_architecture

NETWORK = start_architecture("cnn", channels=1, size=8, classes=10)


def test_new_blobs_take_the_place_of_those_of_their_names_alone() -> None:
    before = Model(NETWORK, {"weights": "w", "alphas": "a"})
    after = before.having({"weights": "x"})
    assert (after.weights, after.blobs) == ("x", {"weights": "x", "alphas": "a"})
    assert after.architecture is NETWORK
    assert before.blobs == {"weights": "w", "alphas": "a"}
