"""Sensitivity and generalization in neural networks (Novak et al., ICLR 2018), measured exactly."""

__version__ = "0.1.0"
