"""The static site: pages, charts and their data."""
