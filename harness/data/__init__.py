"""Task rows from hub, directory or samples; prompts, few-shot examples, leak checks."""
