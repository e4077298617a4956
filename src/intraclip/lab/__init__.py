"""The paper's experiments: tables, figures, ablations, cross-data-set tests, the demo. Nothing but `cli` imports it."""
