"""Exact nearest neighbours among embeddings, streamed from memory or from embedding files of any size."""

from .distances import METRICS, Metric
from .exact import Neighbours, nearest
from .index import Index

__all__ = ["METRICS", "Index", "Metric", "Neighbours", "nearest"]
