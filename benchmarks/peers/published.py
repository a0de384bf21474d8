"""The published procedure: Algorithm 2 in PyTorch, the way its authors run it.

Written from the paper's formulas. Samples are columns, as in the paper: ``V_l`` (d_l, n),
``W_l`` (d_l, d_{l-1}), ``b_l`` (d_l, 1). Float32 throughout, explicit inverses, whole arrays,
elementwise operations one after another, W and b one after the other. After each
iteration the objective is evaluated with all its terms and the accuracy on all samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass
class Blocks:
    """All variables; index 0 is unused but for ``V[0]``, the inputs."""

    W: list
    b: list
    U: list
    V: list


class PublishedBCD:
    """``PublishedBCD(widths, gamma, rho, alpha)``, then `start` and `iterate`."""

    def __init__(
        self, widths: tuple[int, ...], gamma: float = 1.0, rho: float = 1.0, alpha: float = 5.0
    ) -> None:
        self.widths, self.gamma, self.rho, self.alpha = widths, gamma, rho, alpha
        self.L = len(widths) - 1

    def start(self, X: torch.Tensor, seed: int = 40) -> Blocks:
        """Weights N(0, 0.01^2), biases 0.1, states from a forward pass; X (d_0, n)."""
        generator = torch.Generator().manual_seed(seed)
        blocks = Blocks([None], [None], [None], [X])
        for l in range(1, self.L + 1):
            shape = (self.widths[l], self.widths[l - 1])
            blocks.W.append(0.01 * torch.randn(shape, generator=generator))
            blocks.b.append(torch.full((self.widths[l], 1), 0.1))
            blocks.U.append(self._forward(blocks.W[l], blocks.b[l], blocks.V[l - 1]))
            blocks.V.append(torch.relu(blocks.U[l]) if l < self.L else blocks.U[l].clone())
        return blocks

    def iterate(self, blocks: Blocks, Y: torch.Tensor) -> None:
        """One iteration, in place; Y (d_L, n) one-hot."""
        gamma, rho, alpha, L = self.gamma, self.rho, self.alpha, self.L
        W, b, U, V = blocks.W, blocks.b, blocks.U, blocks.V
        V[L] = (Y + gamma * U[L] + alpha * V[L]) / (1 + gamma + alpha)
        forward = self._forward(W[L], b[L], V[L - 1])
        U[L] = (gamma * V[L] + rho * forward) / (gamma + rho)
        self._update_weights(blocks, L)
        for l in range(L - 1, 0, -1):
            V[l] = self._state(U[l], U[l + 1], W[l + 1], b[l + 1])
            forward = self._forward(W[l], b[l], V[l - 1])
            U[l] = relu_prox(
                V[l], (rho * forward + alpha * U[l]) / (rho + alpha), (rho + alpha) / gamma
            )
            self._update_weights(blocks, l)

    def _columns(self, b: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """The bias, once for each sample."""
        return b.repeat(1, like.shape[1])

    def _forward(self, W: torch.Tensor, b: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
        """``W V + b``."""
        return torch.addmm(self._columns(b, V), W, V)

    def _state(self, U, U_next, W_next, b_next) -> torch.Tensor:
        """``V = (rho W^T W + gamma I)^-1 (rho W^T (U_next - b) + gamma relu(U))``."""
        identity = torch.eye(W_next.shape[1])
        inverse = torch.inverse(self.rho * (W_next.T @ W_next) + self.gamma * identity)
        pull = self.rho * (W_next.T @ (U_next - self._columns(b_next, U_next)))
        return inverse @ (pull + self.gamma * torch.relu(U))

    def _update_weights(self, blocks: Blocks, l: int) -> None:
        """``W = (alpha W + rho (U - b) V^T) (alpha I + rho V V^T)^-1``, then b for that W."""
        rho, alpha = self.rho, self.alpha
        U, V, W, b = blocks.U[l], blocks.V[l - 1], blocks.W[l], blocks.b[l]
        inverse = torch.inverse(alpha * torch.eye(len(V)) + rho * (V @ V.T))
        W = (alpha * W + rho * ((U - self._columns(b, U)) @ V.T)) @ inverse
        total = torch.sum(U - W @ V, dim=1, keepdim=True)
        blocks.W[l], blocks.b[l] = W, (alpha * b + rho * total) / (alpha + rho * V.shape[1])

    def objective(self, blocks: Blocks, Y: torch.Tensor) -> float:
        """All terms of F, each as its own norm."""
        W, b, U, V = blocks.W, blocks.b, blocks.U, blocks.V
        total = 0.5 * torch.norm(V[self.L] - Y) ** 2
        for l in range(1, self.L + 1):
            act = torch.relu(U[l]) if l < self.L else U[l]
            gap = U[l] - W[l] @ V[l - 1] - self._columns(b[l], U[l])
            total = total + self.gamma / 2 * torch.norm(V[l] - act) ** 2
            total = total + self.rho / 2 * torch.norm(gap) ** 2
        return float(total)

    def predict(self, blocks: Blocks, X: torch.Tensor) -> torch.Tensor:
        """Class of each column of X."""
        for l in range(1, self.L + 1):
            X = self._forward(blocks.W[l], blocks.b[l], X)
            if l < self.L:
                X = torch.relu(X)
        return X.argmax(dim=0)


def relu_prox(a: torch.Tensor, c: torch.Tensor, q: float) -> torch.Tensor:
    """``argmin_u (a - relu(u))^2 + q (u - c)^2`` by regions of the plane (a, c).

    Three candidates: ``(a + q c) / (1 + q)`` above 0, c below 0, and 0. Below 0 the upper
    candidate is still the better one while ``q c >= a (q - sqrt(q (q + 1)))``.
    """
    zero = torch.zeros_like(a)
    border = a * (q - math.sqrt(q * (q + 1)))
    result = torch.where(a + q * c < 0, torch.minimum(c, zero), zero)
    upper = ((a + q * c >= 0) & (c >= 0)) | ((border <= q * c) & (c < 0))
    result = torch.where(upper, (a + q * c) / (1 + q), result)
    return torch.where((-a <= q * c) & (q * c <= border), c, result)
