"""The finding vocabulary: concepts, places, attributes and label sets, as YAML that a radiologist can edit."""

from corpora.vocabulary.load import Vocabulary, load_vocabulary

__all__ = ["Vocabulary", "load_vocabulary"]
