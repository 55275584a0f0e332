"""Task definitions: what a draft is measured on."""
