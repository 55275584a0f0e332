"""Content-addressed artifacts: nodes, keys and entries; file formats of records and runs."""
