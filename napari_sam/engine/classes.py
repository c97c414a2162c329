"""Classes for objects: what people said of some is learned, and proposed for the rest.

An object is described by what the network sees of it (see `live.similar`); a logistic regression on
descriptions that are standardised over all objects says how likely each class is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from napari_sam.errors import InputError
from napari_sam.live.similar import Likeness
from napari_sam.session import Session
from napari_sam.tiles.store import EmbeddingStore

__all__ = ["ClassProposals", "ProposedClass", "apply_classes", "learn_classes", "propose_classes"]

_FOLDS = 5
"""Parts of the classified objects, each of which is once left out to measure."""


@dataclass(frozen=True)
class ProposedClass:
    """What an object may be.

    Parameters
    ----------
    id : int
        Of the object.
    class_name : str
        The most likely class.
    confidence : float
        How likely it is, as the classifier says.
    """

    id: int
    class_name: str
    confidence: float


@dataclass(frozen=True)
class ClassProposals:
    """Classes for the objects of which nobody said what they are.

    Parameters
    ----------
    proposals : tuple of ProposedClass
        Those with the least confidence first, as they are looked through.
    learned_from : dict of str to int
        How many objects of each class a person named.
    agreement : float or None
        How many of these, left out in turn, get their own class: 0 to 1; None where a class has too
        few to leave any out.
    unknown : tuple of int
        Objects that no encoded tile sees whole.
    """

    proposals: tuple[ProposedClass, ...]
    learned_from: dict[str, int]
    agreement: float | None
    unknown: tuple[int, ...]


def propose_classes(
    session: Session,
    store: EmbeddingStore,
    likeness: Likeness | None = None,
    on_progress: Callable[[int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ClassProposals:
    """Learn from the objects of a plane that have a class, and propose one for each of the others.

    Parameters
    ----------
    session : Session
        With objects of two or more classes.
    store : EmbeddingStore
        Of the plane that is worked on.
    likeness : Likeness, optional
        Of this store, with descriptions that were made before.
    on_progress, should_stop : callable, optional
        Told how many tiles were read, and of how many; asked before each.

    Returns
    -------
    ClassProposals

    Raises
    ------
    InputError
        If fewer than two classes have objects that can be described, or it was asked to stop.
    """
    infos = [
        info for number in session.ids if (info := session.info(number)).plane == session.plane
    ]
    masks = {info.id: session.mask(info.id) for info in infos}
    likeness = Likeness(store) if likeness is None else likeness
    vectors = likeness.descriptions(masks, on_progress, should_stop)
    if should_stop is not None and should_stop():
        raise InputError("Stopped: no classes are proposed.")
    known = {one.id: one.class_name for one in infos if one.class_name and one.id in vectors}
    wanted = [one.id for one in infos if not one.class_name and one.id in vectors]
    found, agreement = learn_classes(
        {number: vectors[number] for number in known}, known, {n: vectors[n] for n in wanted}
    )
    return ClassProposals(
        tuple(sorted(found, key=lambda one: (one.confidence, one.id))),
        dict(sorted(Counter(known.values()).items())),
        agreement,
        tuple(sorted(set(masks) - set(vectors))),
    )


def learn_classes(
    examples: Mapping[int, np.ndarray],
    classes: Mapping[int, str],
    others: Mapping[int, np.ndarray],
) -> tuple[list[ProposedClass], float | None]:
    """Propose classes from descriptions.

    Parameters
    ----------
    examples : mapping of int to (channels,) array
        What objects look like whose class is known.
    classes : mapping of int to str
        Theirs.
    others : mapping of int to (channels,) array
        What the others look like.

    Returns
    -------
    list of ProposedClass
        In the order of `others`.
    agreement : float or None
        As in `ClassProposals`.

    Raises
    ------
    InputError
        If there are fewer than two classes.

    Examples
    --------
    >>> looks = {1: np.array([1.0, 0.0]), 2: np.array([0.0, 1.0])}
    >>> found, _ = learn_classes(looks, {1: "oak", 2: "pine"}, {7: np.array([0.9, 0.2])})
    >>> found[0].id, found[0].class_name, found[0].confidence > 0.5
    (7, 'oak', True)
    """
    # Slow to import, and not needed by anything else.
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.preprocessing import StandardScaler

    names = [classes[number] for number in examples]
    counts = Counter(names)
    if len(counts) < 2:
        raise InputError(
            "Classes are learned from objects of two or more: give some objects a class, and some "
            "another one."
        )
    # Rare classes count as much as common ones: people name a few of each.
    regression = LogisticRegression(class_weight="balanced", max_iter=1000)
    # Over all objects: the spread of a few examples says little.
    scaler = StandardScaler().fit(np.stack([*examples.values(), *others.values()]))
    looks = scaler.transform(np.stack(list(examples.values())))
    agreement = None
    if (fewest := min(counts.values())) >= 2:
        folds = StratifiedKFold(min(_FOLDS, fewest), shuffle=True, random_state=0)
        said = cross_val_predict(regression, looks, names, cv=folds)
        agreement = float(np.mean(said == np.array(names)))
    if not others:
        return [], agreement
    regression.fit(looks, names)
    likely = regression.predict_proba(scaler.transform(np.stack(list(others.values()))))
    best = likely.argmax(1)
    return [
        ProposedClass(number, str(regression.classes_[index]), float(row[index]))
        for number, index, row in zip(others, best.tolist(), likely, strict=True)
    ], agreement


def apply_classes(
    session: Session, proposals: ClassProposals, least: float = 0.0
) -> list[ProposedClass]:
    """Give objects the classes that were proposed, in one step that can be undone.

    Parameters
    ----------
    session : Session
        Theirs. Objects that have a class by now, or are gone, are left alone.
    proposals : ClassProposals
        What `propose_classes` found.
    least : float
        Confidence that is needed.

    Returns
    -------
    list of ProposedClass
        Those that were applied, the least confident first.
    """
    there = set(session.ids)
    applied = [
        one
        for one in proposals.proposals
        if one.confidence >= least and one.id in there and not session.info(one.id).class_name
    ]
    session.classify({one.id: one.class_name for one in applied})
    return applied
