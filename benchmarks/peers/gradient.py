"""Gradient descent in PyTorch: SGD, Adam, Muon, SOAP, Shampoo and schedule-free AdamW.

ReLU, cross entropy, He initialisation, float32. Mini-batches are drawn by index from tensors
in memory, in a new order each pass; nothing but the arithmetic is on the clock. With `passes`
the rates follow a cosine, a line, or one cycle to 0 over so many passes. With `autocast` the
products of forward and backward pass round their factors to bfloat16. With `crop` each image of a
batch is shifted by up to so many rows and columns; pixels from outside the image are 0.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mnist import Samples
from numpy.typing import NDArray
from torch import nn
from torch_setup import blas, use_all_cores

sys.path.append(str(Path(__file__).resolve().parents[1] / "gpu"))
from rivals import orthogonalised

# Whether the processor multiplies in bfloat16; PyTorch emulates it otherwise, 50 times as slowly.
BF16 = torch.cpu.get_capabilities().get("avx512_bf16", False)


class _Gradient:
    def __init__(
        self,
        samples: Samples,
        widths: tuple[int, ...],
        rate: float,
        batch: int,
        passes: int | None = None,
        seed: int = 0,
        schedule: str = "cosine",
        autocast: bool = False,
        crop: int = 0,
    ) -> None:
        self.threads, self.blas = use_all_cores(), blas()
        self.X, self.y = torch.from_numpy(samples.X), torch.from_numpy(samples.y)
        self.widths, self.rate, self.batch = widths, rate, batch
        self.passes, self.seed, self.schedule = passes, seed, schedule
        self.autocast = autocast
        self.crop, self.image_shape = crop, samples.image_shape
        # PyTorch imports its compiler, for two seconds, when a process makes its first optimizer.
        # As the kernels of fastbcd, it is ready before the clock runs.
        self.start()
        self.one_step(torch.arange(min(batch, len(self.X))))

    @property
    def steps(self) -> int:
        """The number of steps of all passes."""
        return (self.passes or 0) * -(-len(self.X) // self.batch)

    def optimizers(self, network: nn.Sequential) -> list[torch.optim.Optimizer]:
        raise NotImplementedError

    def start(self) -> None:
        torch.manual_seed(self.seed)
        self.network = nn.Sequential()
        for d_in, d_out in itertools.pairwise(self.widths):
            layer = nn.Linear(d_in, d_out)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            self.network.extend([layer, nn.ReLU()])
        del self.network[-1]
        self.updates, self.rates = self.optimizers(self.network), []
        if self.passes and self.schedule != "constant":
            self.rates = [self.schedule_of(updates) for updates in self.updates]

    def schedule_of(self, updates: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """The rates of all steps."""
        steps, rates = self.steps, torch.optim.lr_scheduler
        if self.schedule == "linear":
            return rates.LambdaLR(updates, lambda t: 1.0 - t / steps)
        if self.schedule == "one-cycle":
            largest = [group["lr"] for group in updates.param_groups]
            # One step more, because the scheduler asks for the rate after the last one, too.
            return rates.OneCycleLR(updates, largest, total_steps=steps + 1)
        return rates.CosineAnnealingLR(updates, steps)

    def one_pass(self) -> None:
        for rows in torch.randperm(len(self.X)).split(self.batch):
            self.one_step(rows)

    def one_step(self, rows: torch.Tensor) -> None:
        self.network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            loss = nn.functional.cross_entropy(self.network(self.inputs(rows)), self.y[rows])
        loss.backward()
        for step in (*self.updates, *self.rates):
            step.step()

    def inputs(self, rows: torch.Tensor) -> torch.Tensor:
        """Some samples; with `crop`, each is shifted by up to so many rows and columns."""
        X, P = self.X[rows], self.crop
        if P == 0:
            return X
        height, width, colours = self.image_shape
        padded = nn.functional.pad(X.view(-1, height, width, colours), (0, 0, P, P, P, P))
        first = torch.randint(2 * P + 1, (2, len(X), 1))
        y, x = first[0] + torch.arange(height), first[1] + torch.arange(width)
        image = torch.arange(len(X))[:, None, None]
        return padded[image, y[:, :, None], x[:, None, :]].view(len(X), -1)

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return self.network(torch.from_numpy(X)).argmax(dim=1).numpy()


class Adam(_Gradient):
    """Default betas; fused, the fastest form."""

    def optimizers(self, network: nn.Sequential) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(network.parameters(), lr=self.rate, fused=True)]


class Muon(_Gradient):
    """Muon for the hidden matrices; biases and the last layer by Adam with a rate of 1e-3.

    It is `torch.optim.Muon`, or `MuonInFloat32` where the processor does not multiply in bfloat16.
    """

    def optimizers(self, network: nn.Sequential) -> list[torch.optim.Optimizer]:
        linear = [layer for layer in network if isinstance(layer, nn.Linear)]
        hidden = [layer.weight for layer in linear[:-1]]
        others = [linear[-1].weight, *(layer.bias for layer in linear)]
        muon = torch.optim.Muon if BF16 else MuonInFloat32
        return [
            muon(hidden, lr=self.rate, momentum=0.95, weight_decay=0.0),
            torch.optim.Adam(others, lr=1e-3, fused=True),
        ]


class MuonInFloat32(torch.optim.Optimizer):
    """`torch.optim.Muon`, whose products in bfloat16 are slow on processors without such."""

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for W in group["params"]:
                if W not in self.state:
                    self.state[W]["momentum_buffer"] = torch.zeros_like(W)
                momentum = self.state[W]["momentum_buffer"]
                momentum.lerp_(W.grad, 1 - group["momentum"])
                direction = orthogonalised(W.grad.lerp(momentum, group["momentum"]))
                rate = group["lr"] * math.sqrt(max(1.0, len(W) / W.shape[1]))
                W.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-rate)


class SGD(_Gradient):
    """Nesterov momentum 0.9; fused, the fastest form."""

    def optimizers(self, network: nn.Sequential) -> list[torch.optim.Optimizer]:
        parameters, rate = network.parameters(), self.rate
        return [torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True, fused=True)]


class SOAP(_Gradient):
    """Adam in the eigenbases of Shampoo's factors, renewed every 10 steps; no weight decay."""

    def optimizers(self, network: nn.Sequential) -> list[torch.optim.Optimizer]:
        import pytorch_optimizer

        return [pytorch_optimizer.SOAP(network.parameters(), lr=self.rate, weight_decay=0.0)]


class Shampoo(_Gradient):
    """Shampoo with grafting to SGD, the roots of its factors renewed every 20 steps."""

    def optimizers(self, network: nn.Sequential) -> list[torch.optim.Optimizer]:
        from pytorch_optimizer import ScalableShampoo

        updates = ScalableShampoo(
            network.parameters(), lr=self.rate, preconditioning_compute_steps=20, block_size=1024
        )
        return [updates]


class ScheduleFree(_Gradient):
    """Schedule-free AdamW: means of the weights in place of a schedule; a twentieth is warm-up."""

    def optimizers(self, network: nn.Sequential) -> list[torch.optim.Optimizer]:
        from schedulefree import AdamWScheduleFree

        warmup = self.steps // 20
        return [AdamWScheduleFree(network.parameters(), lr=self.rate, warmup_steps=warmup)]

    def one_pass(self) -> None:
        super().one_pass()
        self.updates[0].eval()  # the weights become their means, which predict

    def one_step(self, rows: torch.Tensor) -> None:
        self.updates[0].train()
        super().one_step(rows)
