"""Training of the encoder. Everything here needs the extra ``train`` and may import torch at its top."""

from models.text.training.extras import require_training

require_training("training")
