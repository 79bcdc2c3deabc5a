"""Training of image models. Needs the extra ``train``; nothing that serves imports it."""
