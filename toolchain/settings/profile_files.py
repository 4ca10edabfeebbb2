"""Where a profiling writes, as the command line and the profiling itself know it."""

from pathlib import Path

TABLES = Path("latency_tables")
"""Folder of tables for which no other place is named."""
PARTIAL = ".partial"
"""What the folder of an unfinished table is called besides the table's name."""
MEASURED = "measured.jsonl"
"""The file in that folder that holds what is measured so far."""
FLAGS = "flags.json"
"""The file in that folder that holds the flags."""
