"""From a question to a response: prompts, generation, where a response ends, how likely it is."""
