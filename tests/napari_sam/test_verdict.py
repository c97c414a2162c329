"""What is said of two models by their scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_sam.finetune.changes import Group, PictureChange, compare_groups
from napari_sam.finetune.verdict import HEADLINE, forgetting_sentence, judge

FIVE, BOX, AP = ("5 clicks", "best predicted"), ("box", "best predicted"), ("AP@50", "model")
CLICKS = ("NoC@85", "clicks")


def pictures(
    count: int,
    gains: dict[tuple[str, str], float],
    spread: float = 0.02,
    seed: int = 0,
    objects: int = 6,
    automatic: bool = True,
) -> list[PictureChange]:
    """Pictures of different hardness, whose objects gain so much on average."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        scores = {}
        for key in (HEADLINE, FIVE, BOX, CLICKS):
            before = rng.uniform(0.3, 0.7) + rng.normal(0, 0.05, objects)
            change = gains.get(key, 0.0) + rng.normal(0, spread) + rng.normal(0, spread, objects)
            scores[key] = np.stack([before, before + change])
        scores["1 click", "floor: box"] = np.full((2, objects), 0.6)
        ap = rng.uniform(0.2, 0.5)
        ap_after = ap + gains.get(AP, 0.0) + rng.normal(0, spread)
        areas = rng.integers(10, 1000, objects)
        whole = {AP: (ap, ap_after, 1.0)} if automatic else {}
        found.append(
            PictureChange(
                areas,
                tuple("round" if area % 2 else "" for area in areas),
                scores,
                whole,
                np.zeros((2, 3)),
                np.zeros((2, 3)),
            )
        )
    return found


def overall(*given: object, **more: object) -> Group:
    return compare_groups(pictures(*given, **more))[0]  # type: ignore[arg-type]


def test_better() -> None:
    verdict = judge(overall(8, {HEADLINE: 0.12}))
    assert (verdict.better, verdict.reason, verdict.words) == (True, "better", "better")
    assert verdict.sentence.startswith("Better: the mask after one click gains 0.1")
    assert "measured on 48 objects of 8 pictures" in verdict.sentence
    assert "(AP@50)" in verdict.sentence
    assert verdict.sentence.count(".") == verdict.sentence.count("0.") + 1  # one sentence
    assert "AP@50" not in judge(overall(8, {HEADLINE: 0.12}, automatic=False)).sentence


@pytest.mark.parametrize("key", [FIVE, BOX, AP])
def test_what_got_worse_elsewhere_is_no_improvement(key: tuple[str, str]) -> None:
    verdict = judge(overall(8, {HEADLINE: 0.12, key: -0.1}))
    assert (verdict.better, verdict.reason) == (False, "mixed")
    assert verdict.sentence.startswith("No better: ")
    assert ", but " in verdict.sentence
    assert "loses 0." in verdict.sentence


def test_worse_and_unclear() -> None:
    verdict = judge(overall(8, {HEADLINE: -0.12}))
    assert (verdict.better, verdict.reason) == (False, "worse")
    assert verdict.sentence.startswith("No better, but worse: the mask after one click loses 0.1")
    verdict = judge(overall(8, {HEADLINE: -0.12, BOX: 0.1}))
    assert (verdict.better, verdict.reason) == (False, "mixed")
    assert "but the mask from a box gains 0." in verdict.sentence
    verdict = judge(overall(8, {HEADLINE: 0.005}, spread=0.1))
    assert (verdict.better, verdict.reason) == (False, "unclear")
    assert "may be chance" in verdict.sentence
    verdict = judge(overall(8, {HEADLINE: 0.001, BOX: -0.3}, spread=0.05))
    assert (verdict.better, verdict.reason) == (False, "worse")
    assert "the mask from a box loses" in verdict.sentence
    verdict = judge(overall(8, {HEADLINE: 0.001, BOX: -0.3, FIVE: 0.3}, spread=0.05))
    assert (verdict.better, verdict.reason) == (False, "mixed")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_pictures_never_show_an_improvement(count: int) -> None:
    group = overall(count, {HEADLINE: 0.3}, spread=0.0)
    assert {change.marker for change in group.changes.values()} == {"same"}
    verdict = judge(group)
    assert (verdict.better, verdict.reason) == (False, "too few pictures")
    assert ("one picture ", "two pictures ", "three pictures ")[count - 1] in verdict.sentence
    assert "nan" not in verdict.sentence
    assert judge(overall(4, {HEADLINE: 0.3}, spread=0.0)).better


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_model_is_no_better_than_itself(count: int) -> None:
    group = overall(count, {}, spread=0.0)
    assert (judge(group).better, judge(group).reason) == (False, "same")
    assert "answer alike" in judge(group).sentence
    assert "nothing is forgotten" in forgetting_sentence(group)
    assert {change.marker for change in group.changes.values()} == {"same"}


def test_chance_is_rarely_taken_for_an_improvement() -> None:
    for count in (5, 12):
        verdicts = [judge(overall(count, {}, spread=0.1, seed=seed)) for seed in range(40)]
        assert sum(verdict.better for verdict in verdicts) <= 3
        assert sum(verdict.reason == "unclear" for verdict in verdicts) >= 28


def test_what_is_hard_for_both_does_not_hide_an_improvement() -> None:
    change = overall(8, {HEADLINE: 0.04}).changes[HEADLINE]
    assert change.before.high > change.after.low  # pictures differ more than the models
    assert change.difference.low > 0
    assert change.marker == "better"


def test_fewer_clicks_are_better() -> None:
    change = overall(8, {CLICKS: -0.2}).changes[CLICKS]
    assert change.less_is_better
    assert change.marker == "better"
    assert overall(8, {CLICKS: 0.2}).changes[CLICKS].marker == "worse"


def test_forgetting() -> None:
    assert "no forgetting is seen" in forgetting_sentence(overall(8, {HEADLINE: 0.1}))
    assert "something is forgotten" in forgetting_sentence(overall(8, {HEADLINE: -0.1}))
    sentence = forgetting_sentence(overall(8, {BOX: -0.1}))
    assert "something is forgotten" in sentence
    assert "the mask from a box loses" in sentence


def test_classes_and_sizes_divide_the_objects() -> None:
    found = pictures(6, {})
    groups = compare_groups(found)
    assert [group.kind for group in groups] == ["all", *["class"] * 2, *["size"] * 3]
    for kind in ("class", "size"):
        assert sum(g.objects for g in groups if g.kind == kind) == groups[0].objects == 36
    assert {g.name for g in groups if g.kind == "class"} == {"no class", "round"}
    areas = np.concatenate([picture.areas for picture in found])
    small, medium, large = (g for g in groups if g.kind == "size")
    limit = int(small.name.removeprefix("small (up to ").removesuffix(" px)"))
    assert small.objects == (areas <= limit).sum() == 12
    assert f"{limit + 1} to " in medium.name
    assert large.name.startswith("large (more than ")
    assert AP in groups[0].changes
    assert AP not in small.changes
    means = [(g.changes[HEADLINE].after.value, g.objects) for g in (small, medium, large)]
    total = sum(value * n for value, n in means) / 36
    assert total == pytest.approx(groups[0].changes[HEADLINE].after.value)
    assert groups[0].floors == {("1 click", "floor: box"): pytest.approx(0.6)}


def test_a_class_of_one_picture_has_no_interval() -> None:
    found = pictures(6, {})
    classes = [("rare", *["usual"] * 5), *[("usual",) * 6] * 5]
    named = [
        PictureChange(p.areas, names, p.objects, p.whole, p.predicted, p.measured)
        for p, names in zip(found, classes, strict=True)
    ]
    rare = next(group for group in compare_groups(named) if group.name == "rare")
    assert (rare.pictures, rare.objects) == (1, 1)
    assert math.isnan(rare.changes[HEADLINE].difference.low)
    assert rare.changes[HEADLINE].marker == "same"


def test_objects_of_one_size_and_class_are_not_divided() -> None:
    found = [
        PictureChange(np.full(6, 50), ("",) * 6, p.objects, p.whole, p.predicted, p.measured)
        for p in pictures(4, {})
    ]
    assert len(compare_groups(found)) == 1
