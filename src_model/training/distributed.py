"""Training by several processes, each on images of its own, started by ``torchrun``.

Every step averages the gradients of all processes once, when all objects of a step have been
propagated back. ``DistributedDataParallel`` counts on one backward pass per step; here there is
one per round and chunk of objects, a different number in every process, so the reduction is called
explicitly.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import distributed, nn

__all__ = ["average_gradients", "join_processes", "process_rank", "wait_for_all"]


def process_rank() -> tuple[int, int]:
    """Return this process's number and how many there are; (0, 1) without ``torchrun``."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def join_processes() -> str | None:
    """Meet the other processes if ``torchrun`` started this one.

    Returns
    -------
    str or None
        The device of this process; None for a process on its own.
    """
    if "LOCAL_RANK" not in os.environ:
        return None
    gpus = torch.cuda.is_available()
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if gpus else "gloo")
    return f"cuda:{os.environ['LOCAL_RANK']}" if gpus else "cpu"


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if process_rank()[1] > 1:
        distributed.barrier()


def average_gradients(parameters: Iterable[nn.Parameter], ranks: int) -> None:
    """Replace every gradient by its mean over all processes; missing ones count as zero."""
    if ranks == 1:
        return
    parameters = list(parameters)
    gradients = [
        (torch.zeros_like(p) if p.grad is None else p.grad).float().flatten() for p in parameters
    ]
    flat = torch.cat(gradients)
    distributed.all_reduce(flat)
    flat /= ranks
    for parameter, part in zip(
        parameters, flat.split([p.numel() for p in parameters]), strict=True
    ):
        parameter.grad = part.view_as(parameter).to(parameter.dtype)
