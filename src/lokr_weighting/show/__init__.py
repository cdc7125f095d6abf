"""What is shown: tables, figures, the report."""
