"""The transformer encoder: trained with torch (extra ``train``), served with onnxruntime."""
