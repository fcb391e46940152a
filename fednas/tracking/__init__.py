"""A search in MLflow: a view of its journal, exported by a process of its own.

`Tracker` starts that process and says how far it is; `figure` draws the search. Importing this
package imports neither MLflow nor matplotlib.
"""

from fednas.tracking._figure import figure
from fednas.tracking._tracker import Tracker

__all__ = ["Tracker", "figure"]
