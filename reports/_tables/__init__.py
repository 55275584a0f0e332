"""Parts of the report `tables`."""
