"""What every other room uses: files, checks, processes and memory. No TensorFlow."""
