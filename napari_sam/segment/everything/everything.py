"""All that was found in a scene, and its objects for any thresholds, without the network."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

import numpy as np

from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.store import EmbeddingStore, Failure, StoreUnusable, TileDamaged

from .candidates import AllCandidates, gather
from .filtering import Group, Thresholds, choose, rank, too_small
from .found import FoundObjects
from .joining import open_sides
from .overlaps import INSIDE, LEAST_OVERLAP, Pairs, common_area, measure_pairs
from .raw import RawCandidates
from .records import RawRecords, Settings, find_records
from .thresholds import thresholds_of

__all__ = ["Everything"]

_PAIRS = b"with nested ones"
"""Which pairs are kept: others, of an earlier version, are measured again."""

_JOINED_KEPT = 1024
"""Joined masks that are in memory at once."""


class Everything:
    """The raw candidates of a scene and the pairs of them that overlap.

    Parameters
    ----------
    store : EmbeddingStore
        Where they are kept.
    records : RawRecords
        Which.
    tiles : collection of TileId, optional
        Only theirs, such as those of a region of interest.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        records: RawRecords,
        tiles: Collection[TileId] | None = None,
    ) -> None:
        self._store, self._records = store, records
        self._joined: OrderedDict[Group, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._areas: dict[Group, int] = {}
        self._shared: dict[tuple[Group, Group], int] = {}
        self._damaged: list[TileId] = []
        there = records.done()
        chosen = sorted(there if tiles is None else there & set(tiles))
        known, found, sums = [], [], hashlib.sha256(_PAIRS)
        for tile, raw, digest in records.read_all(chosen):
            if raw is None:
                self._damaged.append(tile)
                continue
            known.append(tile)
            found.append(raw.without_masks())
            sums.update(repr(tile).encode() + digest)
        self._candidates = gather(store.geometry, known, found, self._read)
        self._about = sums.digest()
        self._ranks = rank(self._candidates, records.settings.grid)
        self._blurred = too_small(self._candidates, records.settings.grid)
        self._pairs: Pairs | None = None

    @classmethod
    def open(cls, store: EmbeddingStore, key: str | None = None) -> Everything:
        """Open what `segment_everything` left in a store.

        Parameters
        ----------
        store : EmbeddingStore
            Of the scene.
        key : str, optional
            Which, if it was done with several settings.

        Raises
        ------
        InputError
            If there is nothing, or several and it is not said which.
        """
        return cls(store, find_records(store, key))

    @property
    def settings(self) -> Settings:
        """What was looked for, and where."""
        return self._records.settings

    @property
    def candidates(self) -> AllCandidates:
        """All raw candidates."""
        return self._candidates

    @property
    def damaged(self) -> tuple[TileId, ...]:
        """Tiles whose candidates could not be read; `segment_everything` does them again."""
        return tuple(self._damaged)

    @property
    def failed(self) -> tuple[Failure, ...]:
        """Tiles that failed, whose objects are missing."""
        return tuple(self._records.failures())

    @property
    def pairs(self) -> Pairs:
        """The candidates that overlap; measured when first asked for, and kept in the store."""
        if self._pairs is None:
            content = self._records.read_pairs()
            if content is not None:
                self._pairs = Pairs.from_bytes(content, self._about)
            if self._pairs is None:
                self._pairs = measure_pairs(self._candidates)
                with suppress(StoreUnusable):  # a .zip file is only read; they are measured again
                    self._records.write_pairs(self._pairs.to_bytes(self._about))
        return self._pairs

    def filter(self, thresholds: Thresholds | None = None, **changes: float | None) -> FoundObjects:
        """Find the objects for some thresholds.

        Parameters
        ----------
        thresholds : Thresholds, optional
            By default those that are best for the model, with the sizes that were looked for.
        **changes
            Fields of `Thresholds` that are to have other values.

        Returns
        -------
        FoundObjects

        Raises
        ------
        InputError
            If a threshold is less strict than the raw candidates were kept with.
        """
        if thresholds is None:
            variant = str(self._store.model.variant.get("name"))
            thresholds = thresholds_of(variant, self.settings.best, self.settings.sizes)
        thresholds = replace(thresholds, **changes)  # type: ignore[arg-type]
        thresholds.check(self.settings.thresholds)
        members = choose(
            self._candidates,
            self.pairs,
            self._ranks,
            self._blurred,
            thresholds,
            self._joined_area,
            self._overlaps_of,
        )
        return self._describe(members)

    def _read(self, tile: TileId) -> RawCandidates:
        raw = self._records.read(tile)
        if raw is None:
            raise TileDamaged(
                f"the raw candidates of tile {tile.row}, {tile.col} of level {tile.level} were "
                f"removed or damaged meanwhile: segment everything again, the others are kept."
            )
        return raw

    def _describe(self, members: list[Group]) -> FoundObjects:
        """Put together what is known of objects, in the order of their ids."""
        known = self._candidates
        keys = np.array([group[0] for group in members], np.int64)
        firsts = known.firsts[keys]
        for place, group in enumerate(members):
            if len(group) > 1:
                firsts[place] = self._first(group)
        order = np.lexsort((keys, known.areas[keys], firsts[:, 1], firsts[:, 0]))
        ordered = [members[index] for index in order.tolist()]
        lead = keys[order]
        boxes, areas = known.boxes[lead].copy(), known.areas[lead].copy()
        centroids = known.centroids[lead].copy()
        ious, stabilities = known.predicted_ious[lead].copy(), known.stabilities[lead].copy()
        cuts = known.cuts[lead] > 0
        for place, group in enumerate(ordered):
            if len(group) == 1:
                continue
            pieces = np.array(group)
            boxes[place] = self._box(group)
            areas[place] = self._joined_area(group)
            centroids[place] = self._centroid(group)
            weights = known.areas[pieces]
            ious[place] = np.average(known.predicted_ious[pieces], weights=weights)
            stabilities[place] = np.average(known.stabilities[pieces], weights=weights)
            windows = [known.window(int(known.tile_of[piece])) for piece in group]
            corners = np.array([(w.row0, w.col0, w.row1, w.col1) for w in windows])
            cuts[place] = open_sides(known.cuts[pieces], corners) > 0
        return FoundObjects(
            shape=known.geometry.shape,
            levels=known.levels[lead],
            boxes=boxes,
            areas=areas,
            centroids=centroids,
            predicted_ious=ious,
            stabilities=stabilities,
            cuts=cuts,
            pieces=np.array([len(group) for group in ordered], np.int64),
            _mask=lambda index: self._mask(ordered[index]),
        )

    def _mask(self, group: Group) -> np.ndarray:
        """Return the mask of several candidates of one level, within the box of all."""
        if len(group) == 1:
            return self._candidates.mask(group[0])
        if group not in self._joined:
            level, box = int(self._candidates.levels[group[0]]), self._box(group)
            row0, col0, row1, col1 = (box >> level).tolist()
            mask = np.zeros((row1 - row0, col1 - col0), bool)
            for piece in group:
                top, left = (self._candidates.boxes[piece, :2] >> level).tolist()
                part = self._candidates.mask(piece)
                mask[top - row0 :, left - col0 :][: part.shape[0], : part.shape[1]] |= part
            self._joined[group] = mask, box
            while len(self._joined) > _JOINED_KEPT:
                self._joined.popitem(last=False)
        self._joined.move_to_end(group)
        return self._joined[group][0]

    def _box(self, group: Group) -> np.ndarray:
        boxes = self._candidates.boxes[list(group)]
        return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])

    def _first(self, group: Group) -> tuple[int, int]:
        """Return the first pixel of all, row by row."""
        firsts = self._candidates.firsts[list(group)]
        row, col = min(map(tuple, firsts.tolist()))
        return row, col

    def _centroid(self, group: Group) -> tuple[float, float]:
        mask, level = self._mask(group), int(self._candidates.levels[group[0]])
        row, col = (self._box(group)[:2] >> level).tolist()
        down, across = mask.sum(1), mask.sum(0)
        row += float(down @ np.arange(len(down)) / down.sum())
        col += float(across @ np.arange(len(across)) / across.sum())
        scale = 1 << level
        return (row + 0.5) * scale - 0.5, (col + 0.5) * scale - 0.5

    def _joined_area(self, group: Group) -> int:
        if group not in self._areas:
            level = int(self._candidates.levels[group[0]])
            self._areas[group] = int(np.count_nonzero(self._mask(group))) << (2 * level)
        return self._areas[group]

    def _overlaps_of(
        self, groups: list[Group], alone: np.ndarray
    ) -> list[tuple[int, int, float, float]]:
        """Measure joined objects against others, as `filtering.OverlapsOf` says."""
        known = self._candidates
        joined = np.array([self._box(group) for group in groups], np.int64)
        boxes = np.concatenate([joined, known.boxes[alone]])
        sizes = [self._joined_area(group) for group in groups]
        areas = np.concatenate([np.array(sizes, np.int64), known.areas[alone]])
        found = []
        for place, group in enumerate(groups):
            shared = np.minimum(boxes[:, 2:], joined[place, 2:])
            shared -= np.maximum(boxes[:, :2], joined[place, :2])
            smaller = np.minimum(areas, areas[place])
            most = np.minimum(shared.clip(min=0).prod(1), smaller)
            near = most > LEAST_OVERLAP * (areas + areas[place] - most)
            near |= most >= INSIDE * smaller
            near[: place + 1] = False
            for other in np.flatnonzero(near).tolist():
                ahead = other - len(groups)
                second = groups[other] if ahead < 0 else (int(alone[ahead]),)
                common = self._common(group, second)
                union = int(areas[place]) + int(areas[other]) - common
                found.append((place, other, common / union, common / int(smaller[other])))
        return found

    def _common(self, one: Group, other: Group) -> int:
        """Return how many pixels of level 0 two objects share."""
        if (one, other) not in self._shared:
            levels = self._candidates.levels
            fine, coarse = sorted((one, other), key=lambda group: int(levels[group[0]]))
            self._shared[one, other] = common_area(
                self._mask(fine),
                self._box(fine),
                int(levels[fine[0]]),
                self._mask(coarse),
                self._box(coarse),
                int(levels[coarse[0]]),
            )
        return self._shared[one, other]
