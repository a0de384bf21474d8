"""Trained models for PyTorch and ONNX; these libraries are imported only when they are used."""

from __future__ import annotations

from fastbcd.export.to_onnx import onnx_model
from fastbcd.export.to_torch import torch_module, torch_source, torch_state

__all__ = ["onnx_model", "torch_module", "torch_source", "torch_state"]
