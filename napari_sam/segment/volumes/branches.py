"""What happens where one object of a slice lies over several of the next: branch, or contact.

Two objects of a slice are one only if they are one object elsewhere, for long enough:

- A chain that ends in another one and comes out of it again, at about the same place, is an object
  that touches another one, if it is by itself in as many slices as it is not. The slices in between
  are divided.
- Another chain that ends in one, or comes out of one, is its branch if the two are one object in at
  least half as many slices as the chain has. If not they only touch, and the few slices in which
  they are one object are divided.
- What begins with a small cap, much smaller than it is in most of its slices, is no branch: it lies
  beside or on top.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from napari_sam.segment.everything.joining import join

from .chains import Chains
from .overlaps import Overlaps

__all__ = ["Claim", "Joined", "settle"]

_INSIDE = 0.7
"""The share of a chain's last object that lies over the one it ends in."""

_FACE = 0.4
"""How large it is at least, as a share of the median of its chain: smaller ones are caps."""

_BESIDE = 1.5
"""How far apart an end and a new beginning of one object are at most, in its radii."""

_LASTING = 0.5
"""For how long a branch is one with its trunk, as a share of its own length."""


@dataclass(frozen=True)
class Claim:
    """An object that has a part of an object of a slice, which it shares with others.

    Parameters
    ----------
    chain : int
        Whose it is.
    seed : int
        The chain's object in a slice near by, where it lies by itself.
    own : int
        In the same slice what the other part belongs to; -1 where it is not there.
    """

    chain: int
    seed: int
    own: int


@dataclass(frozen=True, eq=False)
class Joined:
    """Which objects of slices are one object of the volume.

    Parameters
    ----------
    object_of : (n,) ndarray
        int64, for each object of a slice the number of its object, from 0 on, in the order of their
        first objects.
    chain_objects : ndarray
        int64, for each chain likewise.
    claims : dict
        For objects of slices that are divided, who has a part of each.
    missing : dict
        For each slice, pairs of objects below and above between which one is missing in it.
    """

    object_of: np.ndarray
    chain_objects: np.ndarray
    claims: dict[int, list[Claim]]
    missing: dict[int, list[tuple[int, int]]]


@dataclass(eq=False)
class _Contact:
    """An end of a chain that lies over another chain's object."""

    chain: int
    end: int  # its last object there
    host: int  # the object that it lies over


def settle(overlaps: Overlaps, chains: Chains) -> Joined:
    """Decide which chains are one object, and which objects of slices are divided."""
    book = _Book(overlaps, chains)
    ends = [book.contact(number, up=True) for number in range(len(chains))]
    starts = [book.contact(number, up=False) for number in range(len(chains))]
    links: list[tuple[int, int]] = []
    claims: dict[int, list[Claim]] = defaultdict(list)
    out_again = defaultdict(list)
    for contact in filter(None, starts):
        out_again[book.chain_of(contact.host)].append(contact)
    passed: set[tuple[int, bool]] = set()
    for contact in filter(None, ends):
        again = book.out_again(contact, out_again[book.chain_of(contact.host)], passed)
        if again is None:
            continue
        passed |= {(contact.chain, True), (again.chain, False)}
        host = book.chain_of(contact.host)
        between = book.members(host, contact.host, again.host)
        alone = len(chains.members[contact.chain]) + len(chains.members[again.chain])
        links.append((contact.chain, again.chain))
        if len(between) > alone:
            links.append((contact.chain, host))
            continue
        for place, node in enumerate(between.tolist()):
            near = contact if 2 * place < len(between) else again
            claims[node].append(book.claim(near.chain, near.end, host))
    for up, contacts in ((True, ends), (False, starts)):
        for contact in filter(None, contacts):
            if (contact.chain, up) in passed:
                continue
            host = book.chain_of(contact.host)
            shared = book.members(host, contact.host if up else None, None if up else contact.host)
            if len(shared) >= _LASTING * len(chains.members[contact.chain]):
                links.append((contact.chain, host))
                continue
            for node in shared.tolist():
                claims[node].append(book.claim(contact.chain, contact.end, host))
    missing = book.fill_gaps(claims)
    pairs = np.array(links, np.int64).reshape(-1, 2)
    roots = join(len(chains), pairs[:, 0], pairs[:, 1])
    numbers = np.unique(roots, return_inverse=True)[1].reshape(-1)
    return Joined(numbers[chains.chain_of], numbers, dict(claims), missing)


class _Book:
    """Looks things up in overlaps and chains."""

    def __init__(self, overlaps: Overlaps, chains: Chains) -> None:
        self._o, self._chains = overlaps, chains
        self._by_above = np.lexsort((overlaps.below, overlaps.above))
        self._above = overlaps.above[self._by_above]

    def chain_of(self, node: int) -> int:
        return int(self._chains.chain_of[node])

    def members(self, chain: int, first: int | None, last: int | None) -> np.ndarray:
        """Return the objects of a chain from one to another."""
        members = self._chains.members[chain]
        start = 0 if first is None else int(np.searchsorted(members, first))
        stop = len(members) if last is None else int(np.searchsorted(members, last)) + 1
        return members[start:stop]

    def pairs(self, node: int, up: bool) -> np.ndarray:
        """Return the pairs of an object with those of higher or lower slices."""
        if up:
            start, stop = np.searchsorted(self._o.below, [node, node + 1])
            return np.arange(start, stop)
        start, stop = np.searchsorted(self._above, [node, node + 1])
        return self._by_above[start:stop]

    def contact(self, chain: int, up: bool) -> _Contact | None:
        """Find what the end of a chain lies over; None if nothing, or if it is only a cap."""
        members, o = self._chains.members[chain], self._o
        end = int(members[-1] if up else members[0])
        if o.areas[end] < _FACE * np.median(o.areas[members]):
            return None
        pairs = self.pairs(end, up)
        others = (o.above if up else o.below)[pairs]
        good = o.common[pairs] >= _INSIDE * o.areas[end]
        good &= self._chains.chain_of[others] != chain
        if not good.any():
            return None
        pairs, others = pairs[good], others[good]
        best = np.lexsort((others, -o.common[pairs], o.steps[pairs]))[0]
        return _Contact(chain, end, int(others[best]))

    def out_again(
        self, contact: _Contact, starts: list[_Contact], passed: set[tuple[int, bool]]
    ) -> _Contact | None:
        """Find where an object that ended in another one comes out of it again."""
        o, found = self._o, []
        for start in starts:
            if start.host < contact.host or (start.chain, False) in passed:
                continue
            radius = np.sqrt(min(o.areas[contact.end], o.areas[start.end]) / np.pi)
            far = np.hypot(*(o.centroids[contact.end] - o.centroids[start.end]))
            if start.chain != contact.chain and far <= _BESIDE * radius:
                found.append((int(o.slices[start.host]), far, start.chain, start))
        return min(found, key=lambda one: one[:3])[3] if found else None

    def claim(self, chain: int, seed: int, host: int) -> Claim:
        """Say who has a part of a host's object, and what else lies beside the seed."""
        return Claim(chain, seed, self.at(host, int(self._o.slices[seed])))

    def at(self, chain: int, number: int) -> int:
        """Return a chain's object in a slice; -1 if there is none."""
        members = self._chains.members[chain]
        place = int(np.searchsorted(self._o.slices[members], number))
        there = place < len(members) and self._o.slices[members[place]] == number
        return int(members[place]) if there else -1

    def fill_gaps(self, claims: dict[int, list[Claim]]) -> dict[int, list[tuple[int, int]]]:
        """Find what is missing in slices that chains pass over, or lies in another object there."""
        o, missing = self._o, defaultdict(list)
        for number, members in enumerate(self._chains.members):
            slices = o.slices[members]
            for place in np.flatnonzero(np.diff(slices) > 1).tolist():
                below, above = int(members[place]), int(members[place + 1])
                for between in range(int(slices[place]) + 1, int(slices[place + 1])):
                    host = self._over(below, between)
                    if host < 0:
                        missing[between].append((below, above))
                        continue
                    whose = self.chain_of(host)
                    claim = self.claim(number, below, whose)
                    claims[host].append(
                        self.claim(number, above, whose) if claim.own < 0 else claim
                    )
        return dict(missing)

    def _over(self, node: int, number: int) -> int:
        """Return the object of a higher slice over which one lies for the most part, or -1."""
        pairs = self.pairs(node, up=True)
        pairs = pairs[self._o.slices[self._o.above[pairs]] == number]
        if not len(pairs):
            return -1
        best = pairs[np.argmax(self._o.common[pairs])]
        return int(self._o.above[best]) if 2 * self._o.common[best] >= self._o.areas[node] else -1
