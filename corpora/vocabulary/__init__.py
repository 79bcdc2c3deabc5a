from corpora.vocabulary.load import Vocabulary, load_vocabulary

__all__=["Vocabulary","load_vocabulary"]
