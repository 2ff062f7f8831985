"""Fetching a released checkpoint from ModelScope or Hugging Face, and verifying it."""
