"""Small sample data of the project's own: rows for every task and a tiny target model."""
