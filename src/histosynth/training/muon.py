"""Muon: momentum, made orthogonal (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks").

For a matrix W with gradient G, a convolution's kernel being one of (output, input x height x width),

    M <- μ M + G,   W <- W - lr · 0.2 √max(rows, columns) · orthogonal(G + μ M)

where orthogonal(U S Vᵀ) is about U Vᵀ by five Newton-Schulz steps. The factor gives a step the size of one of AdamW
(Liu et al. 2025, "Muon is scalable for LLM training"), so that one learning rate serves both. `torch.optim.Muon`
computes the same for matrices, but it does not accept kernels and computes one matrix at a time, always in bf16. Here
matrices of one shape are batched, in float32, at about a third of the multiplications for 3 x 3 kernels.

AdamW optimizes the other weights: the first and last layer, embeddings, gains and biases.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

from histosynth.config import TrainSettings

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_OUTER = ("input.", "output.", "time_embed.", "label_embed.")


class Muon(torch.optim.AdamW):
    """AdamW with orthogonal steps for some of the weights.

    Args:
        matrices: weights of two or more dimensions, for orthogonal steps.
        others: weights for AdamW.
        lr: learning rate of both.
        momentum: μ.
        weight_decay: decoupled weight decay of both.
        fused: fused implementation of AdamW.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        fused: bool = False,
    ) -> None:
        groups = [{"params": list(matrices), "momentum": momentum}, {"params": list(others), "momentum": 0.0}]
        super().__init__([group for group in groups if group["params"]], lr=lr, weight_decay=weight_decay, fused=fused)
        # The scaler of fp16 itself skips steps whose gradient overflows; fused AdamW would, orthogonal steps would not.
        self._step_supports_amp_scaling = False

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take a step."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["momentum"]]
        try:
            loss: float | None = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["momentum"]:
                self._step_of(group)
        return loss

    def _step_of(self, group: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        alike: dict[tuple[int, int], list[Tensor]] = {}
        for weight in group["params"]:
            if weight.grad is not None:
                alike.setdefault((len(weight), weight[0].numel()), []).append(weight)
        for (rows, columns), weights in alike.items():
            for weight in weights:
                state = self.state[weight]
                if not state:  # AdamW looks for the step when it loads a state
                    state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(weight)}
                state["step"] += 1
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            kept = [self.state[weight]["momentum"] for weight in weights]
            torch._foreach_mul_(kept, momentum)
            torch._foreach_add_(kept, gradients)
            ahead = torch._foreach_add(gradients, kept, alpha=momentum)
            # inputs last, as they lie in memory; the order of columns changes nothing else
            steps = orthogonal(torch.stack([each.movedim(1, -1).flatten(1) for each in ahead]))
            torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
            last = [weight.movedim(1, -1).shape for weight in weights]
            moves = [step.view(shape).movedim(-1, 1) for step, shape in zip(steps, last, strict=True)]
            torch._foreach_add_(weights, moves, alpha=-lr * 0.2 * math.sqrt(max(rows, columns)))


def orthogonal(matrices: Tensor) -> Tensor:
    """Return approximately U Vᵀ of matrices U S Vᵀ, both (N, rows, columns); singular values are about 0.7 to 1.2."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).float()
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    gram = x @ x.mT
    identity = torch.eye(len(gram[0]), device=x.device)
    total = identity
    for step in range(_STEPS):  # on X Xᵀ, smaller than X: a step is X <- P X with P = a + b X Xᵀ + c (X Xᵀ)²
        polynomial = a * identity + b * gram + c * gram @ gram
        total = polynomial @ total if step else polynomial
        if step < _STEPS - 1:
            gram = polynomial @ gram @ polynomial
    x = total @ x
    out: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return out


def build_optimizer(model: nn.Module, train: TrainSettings, *, fused: bool) -> torch.optim.AdamW:
    """Build the optimizer of the settings, for a model whose `network` is a U-Net or its encoder."""
    if train.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=train.lr, weight_decay=train.weight_decay, fused=fused)
    matrices, others = list[Tensor](), list[Tensor]()
    for name, weight in model.named_parameters():
        inner = weight.ndim >= 2 and not name.removeprefix("network.").startswith(_OUTER)
        (matrices if inner else others).append(weight)
    return Muon(matrices, others, lr=train.lr, weight_decay=train.weight_decay, fused=fused)
