"""What the process imports that workers are forked from: torch, once, and no torch work.

The variable must be set before torch is imported, and in that process alone: the program that
starts it is a user's.
"""

import gc
import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch._dynamo  # noqa: F401  optimizers import it at their first use, for a second

import fednas.space._trace
import fednas.training
import fednas.work  # noqa: F401

# Else the collector would write to, and so copy, every page that a worker shares with this process.
gc.freeze()
