"""From frames to vectors: encoders, aggregation, extraction, files of embeddings, live tracklets."""
