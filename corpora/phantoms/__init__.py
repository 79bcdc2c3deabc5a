"""Chest phantoms: simple pictures with known boxes and masks, each with a report of the grammar that describes it.

    >>> from corpora.phantoms import PhantomMaker

They are for tests of what learns from reports and pictures: everything is known of them, and nothing is real.
"""

from corpora.phantoms.make import Phantom, PhantomMaker, PlacedFinding

__all__ = ["Phantom", "PhantomMaker", "PlacedFinding"]
