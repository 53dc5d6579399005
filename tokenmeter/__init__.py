"""What every LLM call costs."""
