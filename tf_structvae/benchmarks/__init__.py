"""Speed, memory and accuracy side by side with other implementations, one process each."""
