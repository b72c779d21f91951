"""Going on when memory runs out: a step in parts, then activations computed twice instead of kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mimseg.errors import OutOfMemory
from mimseg.events import Reporter
from mimseg.memory import is_out_of_memory


class MemoryLadder:
    """Computes the gradient of a batch with as much memory as there is.

    The first rung keeps the batch: its crops are computed in parts whose gradients are added up. That is the gradient
    of the batch if the loss is a mean over crops; of losses that count voxels over a whole batch, such as Dice, it is
    the mean over parts, which differs by some percent. The second one recomputes the transformer's activations in the
    backward pass, which changes nothing. What was needed once is kept for the rest of the run. Another window or device
    is for the user to choose.

    Args:
        fabric: Where to run.
        network: What is trained; `recompute_activations()` switches the second rung on, where there is one.
        compute_loss: Loss of (network, batch).
        divisible: Whether the mean of the losses of its parts may stand for the loss of a batch; not where crops are
            compared.
        reporter: Is told of every rung.
        taken: Rungs of an earlier part of the run, as `taken` returned them.

    Attributes:
        taken: `parts` and `recompute`, for the checkpoint.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        compute_loss: Callable[[nn.Module, Any], Tensor],
        divisible: bool,
        reporter: Reporter,
        taken: dict[str, Any] | None = None,
    ) -> None:
        self._fabric, self._compute_loss = fabric, compute_loss
        self._divisible, self._reporter = divisible, reporter
        self.taken: dict[str, Any] = {"parts": 1, "recompute": False, **(taken or {})}
        self._recompute: Callable[[], None] | None = getattr(network, "recompute_activations", None)
        if self.taken["recompute"] and self._recompute:
            self._recompute()

    def backward(self, module: nn.Module, optimizer: Any, batch: Any, seed: int) -> float:
        """Leave the gradient of `batch` in the parameters and return its loss.

        Args:
            module: `network` as Fabric wrapped it.
            optimizer: Its gradients are cleared first.
            batch: Tuple of tensors `(B, ...)` on the device; entries may be None.
            seed: For what the network draws, such as branches that it leaves out: the same in each attempt.

        Raises:
            OutOfMemory: Memory does not even suffice on the last of these rungs.
        """
        while True:
            optimizer.zero_grad(set_to_none=True)
            torch.manual_seed(seed)
            try:
                return self._accumulate(module, batch)
            except (RuntimeError, MemoryError) as fault:
                if not is_out_of_memory(fault):
                    raise
                cause = fault
            # Outside of the handler, or the traceback would keep the failed attempt's tensors alive.
            optimizer.zero_grad(set_to_none=True)
            self._climb(len(batch[0]), tuple(batch[0].shape[2:]), cause)

    def _accumulate(self, module: nn.Module, batch: Any) -> float:
        total = 0.0
        for part, share in _parts(batch, self.taken["parts"]):
            loss = self._compute_loss(module, part) * share
            self._fabric.backward(loss)
            total += float(loss.detach())
        return total

    def _climb(self, crops: int, window: tuple[int, ...], cause: BaseException) -> None:
        device = str(self._fabric.device)
        if self._fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        parts = self.taken["parts"]
        if self._fabric.world_size > 1:
            raise OutOfMemory(f"The memory of {device} ran out.", "Use a smaller --batch.") from cause
        if self._divisible and parts < crops:
            self.taken["parts"] = min(2 * parts, crops)
            done = f"each step is now computed in {self.taken['parts']} parts, with the batch size as it was"
        elif self._recompute and not self.taken["recompute"]:
            self.taken["recompute"] = True
            self._recompute()
            done = "activations are now computed twice instead of kept, which takes longer and gives the same result"
        else:
            size = "x".join(str(edge) for edge in window)
            raise OutOfMemory(
                f"{device} does not have enough memory for one crop of {size} voxels.",
                "Use a smaller --window, a smaller --network, or another --device.",
            ) from cause
        self._reporter.warning("memory-ran-out", f"The memory of {device} ran out: {done}.")


def _parts(batch: Any, count: int) -> Iterator[tuple[Any, float]]:
    """Neighbouring pieces of a batch, each with its share of it."""
    size = len(batch[0])
    if count == 1:
        yield batch, 1.0
        return
    pieces = [None if entry is None else entry.tensor_split(count) for entry in batch]
    for index, images in enumerate(pieces[0] or ()):
        yield tuple(None if piece is None else piece[index] for piece in pieces), len(images) / size
