"""The BERT text encoder: loading, batching, fine-tuning, distillation, 8-bit weights."""
