"""What can go wrong with weak labels, as a branch of the tree in `corpora.errors`.

RadlabelError
+-- PolicyInvalid      a label policy breaks a rule                                  (also ValueError)
+-- RegionsInvalid     a table of regions, a lung box or a mask breaks a rule        (also ValueError)
+-- SplitsInvalid      shares, fixed lists or earlier splits contradict each other   (also ValueError)
+-- SplitLeak          something stands in two splits                                (also ValueError)
+-- ExportInvalid      rows do not fit the form they are to be written in            (also ValueError)

No message holds an identifier or a report's text.
"""

from __future__ import annotations

from corpora.errors import RadlabelError


class PolicyInvalid(RadlabelError, ValueError):
    """A label policy breaks a rule; the message names file, label and key."""


class RegionsInvalid(RadlabelError, ValueError):
    """A table of regions, a lung box or a mask breaks a rule; the message names the entry."""


class SplitsInvalid(RadlabelError, ValueError):
    """Shares, fixed lists or earlier splits are no valid whole, or contradict each other."""


class SplitLeak(RadlabelError, ValueError):
    """A patient, a text, a picture or a held-out id stands where it must not; the message counts each kind."""


class ExportInvalid(RadlabelError, ValueError):
    """Rows do not fit the form they are to be written in; the message names row and field."""
