"""A synthetic report grammar: sentences and reports from templates over the vocabulary, with exact span labels.

    >>> from corpora.grammar import SentenceGrammar

A reader is trained on what the training families and synonyms make, and measured on the held-out ones. The templates
and the words are data (``data/``); all of them are invented.
"""

from corpora.grammar.corrupt import corrupt
from corpora.grammar.generate import SentenceGrammar
from corpora.grammar.overlap import ngram_overlap
from corpora.grammar.sentences import GrammarFinding, PlacedSentence, SyntheticReport, SyntheticSentence

__all__ = [
    "GrammarFinding",
    "PlacedSentence",
    "SentenceGrammar",
    "SyntheticReport",
    "SyntheticSentence",
    "corrupt",
    "ngram_overlap",
]
