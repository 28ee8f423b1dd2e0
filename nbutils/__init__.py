"""The tools behind the book: one module for each step of the analysis.

photographs -> activations -> neighbors -> dimension -> density -> peaks -> hierarchy <-> wordnet

Each module takes what the one before it made and knows nothing of those after it. Everything past the
neighbour graph is a pure function of it, so the same code runs on a few drawn images and on 90,000
photographs. Import what you need from its module, for instance ``from nbutils.peaks import find_peaks``.

The package is installed under the name hierarchical-nucleation: on the Python Package Index, nbutils is another one.
"""

__version__ = "0.1.0"
