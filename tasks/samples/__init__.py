"""Small sample data of the project's own: GSM8K-shaped rows and a tiny target model."""
