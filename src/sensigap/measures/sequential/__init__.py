"""Exact measures of networks of others: one `nn.Sequential` of affine layers and units."""
