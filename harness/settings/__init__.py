"""What a recipe may say: its sections, how they are checked, where recipes are found."""
