"""Whether files and runtimes do what they should."""
