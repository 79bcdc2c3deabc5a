"""temporary"""
from __future__ import annotations
import hashlib
from functools import lru_cache
from importlib import resources
from pathlib import Path
import yaml
from corpora.errors import LabelSetUnknown, VocabularyInvalid
from corpora.vocabulary.schema import AnatomyEntry, Attributes, FindingEntry, LabelSet, VocabularyFile


class Vocabulary:
    def __init__(self, findings, anatomy, attributes, label_sets, digest):
        self.findings=findings; self.anatomy=anatomy; self.attributes=attributes; self.label_sets=label_sets; self.digest=digest
        self._children={}
        for e in findings.values():
            for p in e.parents: self._children.setdefault(p,[]).append(e.id)
    def descendants(self, c):
        out=set(); st=[c]
        while st:
            x=st.pop()
            if x in out: continue
            out.add(x); st+=self._children.get(x,[])
        return frozenset(out)
    def anatomy_ancestors(self, place):
        out=[]; st=list(self.anatomy[place].parents)
        while st:
            x=st.pop(0)
            if x in out or x not in self.anatomy: continue
            out.append(x); st+=self.anatomy[x].parents
        return tuple(out)
    def label_set(self, n):
        if n not in self.label_sets: raise LabelSetUnknown(n)
        return self.label_sets[n]


def load_vocabulary(extra=()):
    root=resources.files("corpora.vocabulary")/"data"
    f={};a={};l={};at=Attributes(); h=hashlib.sha256()
    for p in sorted(Path(str(root)).rglob("*.yaml")):
        h.update(p.read_bytes())
        d=yaml.load(p.read_text(), Loader=yaml.CSafeLoader)
        v=VocabularyFile.model_validate(d)
        for e in v.findings:
            if e.id in f: print("dup",e.id)
            f[e.id]=e
        for e in v.anatomy: a[e.id]=e
        for e in v.label_sets: l[e.id]=e
        if v.attributes.laterality: at=v.attributes
    return Vocabulary(f,a,at,l,h.hexdigest())
