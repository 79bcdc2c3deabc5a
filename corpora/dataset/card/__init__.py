"""The data card: what a data set holds, as ``card.md`` and ``card.html`` with plots. It has no text of a report.

The form follows Gebru et al. 2021 (Datasheets for datasets, arXiv:1803.09010) where numbers can answer, and the plots
show what a model could use in place of disease: view, sex, age, the make of the machine (Zech et al. 2018, PLoS
Medicine 15(11), e1002683).
"""

from corpora.dataset.card.write import write_card

__all__ = ["write_card"]
