"""Exact transitions of stacks along polygons: the walk from layer to layer."""
